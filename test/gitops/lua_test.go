package gitops

import (
	"context"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// runLua runs a script on an object as Argo CD does: with the libraries for tables and
// with what is harmless of that for the operating system, and for a second at most.
func runLua(t *testing.T, script string, object map[string]any) lua.LValue {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	t.Cleanup(state.Close)
	for name, open := range map[string]lua.LGFunction{
		lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.OsLibName: openHarmlessOS,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(script); err != nil {
		t.Fatal(err)
	}
	return state.Get(-1)
}

// openHarmlessOS opens the library for the operating system, and takes away all of it but
// the clock.
func openHarmlessOS(state *lua.LState) int {
	lua.OpenOs(state)
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return 0
	}
	var others []lua.LValue
	table.ForEach(func(name, _ lua.LValue) {
		if s := name.String(); s != "date" && s != "time" && s != "clock" && s != "difftime" {
			others = append(others, name)
		}
	})
	for _, name := range others {
		table.RawSet(name, lua.LNil)
	}
	return 1
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case bool:
		return lua.LBool(v)
	case string:
		return lua.LString(v)
	case float64:
		return lua.LNumber(v)
	case int64:
		return lua.LNumber(v)
	case []any:
		table := state.NewTable()
		for _, item := range v {
			table.Append(toLua(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range v {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}

// fromLua is toLua the other way round. Lua does not tell an empty list from an empty map.
func fromLua(value lua.LValue) any {
	switch v := value.(type) {
	case lua.LBool:
		return bool(v)
	case lua.LString:
		return string(v)
	case lua.LNumber:
		return float64(v)
	case *lua.LTable:
		if v.Len() > 0 {
			var list []any
			v.ForEach(func(_, item lua.LValue) { list = append(list, fromLua(item)) })
			return list
		}
		out := map[string]any{}
		v.ForEach(func(key, item lua.LValue) { out[key.String()] = fromLua(item) })
		return out
	default:
		return nil
	}
}
