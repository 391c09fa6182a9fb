//go:build linux

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPanelsOfCollapsedRowsAreAsked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const text = `{"title": "board", "panels": [
		{"type": "row", "title": "open"}, {"title": "first", "targets": [{"expr": "a"}]},
		{"type": "row", "title": "collapsed", "panels": [{"title": "second", "targets": [{"expr": "b"}]}]}]}`
	if err := os.WriteFile(filepath.Join(dir, "board.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	boards, err := readBoards(dir)
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	for _, p := range boards[0].Panels {
		for _, q := range p.Targets {
			asked = append(asked, p.Title+": "+q.Expr)
		}
	}
	if got := strings.Join(asked, ", "); got != "first: a, second: b" {
		t.Errorf("these are asked: %s", got)
	}
}

func TestOnlyNamedSeriesOfNumbersAreData(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"status": "success", "data": {"result": [
			{"metric": {"of": "nothing"}, "values": [[1, "NaN"], [2, "+Inf"], [3, "-Inf"]]},
			{"metric": {"of": "something"}, "values": [[1, "NaN"], [2, "0"]]}]}}`)
	}))
	t.Cleanup(server.Close)
	for legend, want := range map[string]string{"": "of=something: 1", "{{of}}": "something: 1", "{{about}}": "", "{{of}}, {{about}}": ""} {
		found, err := ask(t.Context(), strings.TrimPrefix(server.URL, "http://"), "query", legend, time.Unix(1, 0), time.Unix(3, 0))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range found {
			got = append(got, fmt.Sprintf("%s: %d", s.name, len(s.points)))
		}
		if got := strings.Join(got, ", "); got != want {
			t.Errorf("with the legend %q these have data: %q, not %q", legend, got, want)
		}
	}
}
