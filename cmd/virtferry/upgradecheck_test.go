package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/virtferry/virtferry/internal/upgradecheck"
)

func TestUpgradeCheckConcludes(t *testing.T) {
	t.Parallel()
	result := func(name string, verdict upgradecheck.Verdict) upgradecheck.Result {
		return upgradecheck.Result{Guest: upgradecheck.Guest{Name: name}, Answers: []upgradecheck.Answer{{Target: "node-b", Verdict: verdict, Message: "why"}}}
	}
	for _, c := range []struct {
		name     string
		results  []upgradecheck.Result
		unlisted int
		want     []string
	}{
		{"none", nil, 0, nil},
		{"all can go", []upgradecheck.Result{result("db", upgradecheck.Moves)}, 0, nil},
		{"some cannot", []upgradecheck.Result{result("web", upgradecheck.Refused), result("db", upgradecheck.Refused), result("c", upgradecheck.Moves)}, 0,
			[]string{"2 of 3 guests of node-a cannot be moved to node-b as they are: db, web"}},
		{"of some it is not known", []upgradecheck.Result{result("web", upgradecheck.Unanswered)}, 0, []string{"of 1 of 1 guests of node-a it could not be found out: web"}},
		{"some are not listed", nil, 3, []string{"3 guests of node-a are not listed"}},
	} {
		err := conclude("node-a", []string{"node-b"}, c.results, c.unlisted)
		if (err != nil) != (len(c.want) > 0) {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: it says %q, want %q", c.name, err, want)
			}
		}
		var out bytes.Buffer
		if err := printAnswers(&out, c.results); err != nil || strings.Count(out.String(), "\n") != 1+len(c.results) {
			t.Errorf("%s: it prints %q: %v", c.name, out.String(), err)
		}
	}
}

func TestUpgradeCheckRefusesBadFlags(t *testing.T) {
	t.Parallel()
	good := upgradeCheckFlags{parallel: 1, timeout: time.Second, output: "json"}
	for want, change := range map[string]func(f *upgradeCheckFlags){
		"--output":   func(f *upgradeCheckFlags) { f.output = "yaml" },
		"--parallel": func(f *upgradeCheckFlags) { f.parallel = 0 },
		"--timeout":  func(f *upgradeCheckFlags) { f.timeout = 0 },
	} {
		f := good
		change(&f)
		if err := f.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it says %v, want %s", err, want)
		}
	}
	if err := good.check(); err != nil {
		t.Error(err)
	}
}
