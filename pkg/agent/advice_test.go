package agent

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// needsHost is advice that only somebody with rights on the hosts, or on the agents, can follow.
var needsHost = regexp.MustCompile(`(?i)virsh|\bshut the guest\b|\b(update|install|restart|extend|detach|define|undefine)\b (it|qemu|libvirt|the agent|the guest)`)

// TestAdviceForAHostIsForItsAdministrator: whoever creates LiveMigrations need not have access
// to the hosts, so no refusal gives them orders that need it.
func TestAdviceForAHostIsForItsAdministrator(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, message := range refusals(t) {
		for sentence := range strings.SplitSeq(message, ". ") {
			if advice := needsHost.FindString(sentence); advice != "" {
				seen++
				if !strings.Contains(sentence, "administrator") {
					t.Errorf("%q is said to whoever may not do it: %q", advice, sentence)
				}
			}
		}
	}
	if seen < 5 {
		t.Errorf("only %d messages have advice for a host; are they found?", seen)
	}
}

// refusals are the formats of all messages with which the agents refuse a migration, as far as
// they are literals.
func refusals(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var messages []string
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if name, ok := call.Fun.(*ast.Ident); !ok || name.Name != "refuse" || len(call.Args) < 3 {
				return true
			}
			messages = append(messages, literal(t, call.Args[2]))
			return true
		})
	}
	return messages
}

// literal is what an expression is that consists of literals, with … for all else.
func literal(t *testing.T, e ast.Expr) string {
	t.Helper()
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		if err != nil {
			t.Fatal(err)
		}
		return text
	case *ast.BinaryExpr:
		return literal(t, e.X) + literal(t, e.Y)
	default:
		return "…"
	}
}
