package command

import (
	"errors"
	"flag"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	refused := errors.New("any")
	for _, c := range []struct {
		name string
		args []string
		want error
		says []string
	}{
		{"nothing", nil, nil, nil},
		{"a flag", []string{"-rounds=3"}, nil, nil},
		{"help", []string{"-h"}, flag.ErrHelp, []string{"Breaks everything.", "FAULT_ONLY", "by their names", "-rounds int"}},
		{"an unknown flag", []string{"-round=3"}, refused, []string{"-round", "FAULT_ONLY"}},
		{"an argument", []string{"-rounds=3", "all"}, refused, []string{`unexpected argument "all"; see -h`}},
	} {
		var out strings.Builder
		flags := flag.NewFlagSet("faults", flag.ContinueOnError)
		rounds := flags.Int("rounds", 1, "how many")
		err := parse(flags, c.args, &out, "Breaks everything.", []Variable{{"FAULT_ONLY", "which cases, by their names"}})
		switch {
		case c.want == nil && err != nil, c.want != nil && err == nil, errors.Is(c.want, flag.ErrHelp) && !errors.Is(err, flag.ErrHelp):
			t.Errorf("%s: %v", c.name, err)
		case c.want == nil && len(c.args) > 0 && *rounds != 3:
			t.Errorf("%s: it has %d rounds", c.name, *rounds)
		}
		for _, part := range c.says {
			if !strings.Contains(out.String(), part) {
				t.Errorf("%s: it does not say %q:\n%s", c.name, part, out.String())
			}
		}
	}
}
