//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// act is what one of the stages has shown.
type act struct {
	stage   string
	answers []answer
	// counts are what the counters of outcomes have counted, by their names.
	counts map[string]float64
	// compared is how many numbers were compared with what was, and wrong is where Prometheus
	// was told something else.
	compared int
	wrong    []string
}

// report is what all stages have shown.
type report struct{ acts []act }

// write writes what came of all queries and outcomes, and fails if something is missing.
func (r *report) write(to io.Writer) error {
	r.tables(to)
	var wrong []string
	for i := range r.acts {
		for _, what := range r.acts[i].wrong {
			wrong = append(wrong, r.acts[i].stage+": "+what)
		}
	}
	queries, without, excuses := r.queries()
	outcomes, missing := r.outcomes()
	for _, what := range without {
		wrong = append(wrong, "no data: "+what)
	}
	wrong = append(wrong, append(excuses, missing...)...)
	for _, what := range wrong {
		fmt.Fprintln(to, what)
	}
	for i := range r.acts {
		a := &r.acts[i]
		fmt.Fprintf(to, "queries_%s: %d\noutcomes_%s: %d\ncompared_%s: %d\n", a.stage, a.answered(), a.stage, a.reached(), a.stage, a.compared)
	}
	fmt.Fprintf(to, "outcomes: %d\nqueries: %d\nwithout_data: %d\n", outcomes, queries, len(without))
	if len(wrong) > 0 {
		return errors.New("not all is as it should be")
	}
	return nil
}

// tables shows each query and each outcome, by stage.
func (r *report) tables(to io.Writer) {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	row := func(name string, cells func(a *act) string) {
		fmt.Fprint(table, name)
		for i := range r.acts {
			fmt.Fprint(table, "\t", cells(&r.acts[i]))
		}
		fmt.Fprintln(table)
	}
	row("query", func(a *act) string { return a.stage + "\tlargest" })
	for i, q := range r.acts[0].answers {
		row(q.name, func(a *act) string { return fmt.Sprintf("%d\t%.4g", a.answers[i].series, a.answers[i].largest) })
	}
	fmt.Fprintln(table)
	row("outcome", func(a *act) string { return a.stage + "\t" })
	for _, name := range r.countNames() {
		row(name, func(a *act) string { return fmt.Sprintf("%g\t", a.counts[name]) })
	}
	_ = table.Flush() // As much as of any other line, nobody hears of it.
}

// countNames are the names of all outcomes, in order.
func (r *report) countNames() []string {
	all := map[string]bool{}
	for i := range r.acts {
		for name := range r.acts[i].counts {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (a *act) answered() int {
	n := 0
	for i := range a.answers {
		if a.answers[i].series > 0 {
			n++
		}
	}
	return n
}

func (a *act) reached() int {
	n := 0
	for _, count := range a.counts {
		if count > 0 {
			n++
		}
	}
	return n
}

// queries returns how many there are, and what is wrong with their answers.
func (r *report) queries() (count int, without, wrong []string) {
	answers := r.acts[0].answers
	for i := range answers {
		if !slices.ContainsFunc(r.acts, func(a act) bool { return a.answers[i].series > 0 }) {
			without = append(without, answers[i].name+": "+answers[i].expr)
		}
	}
	for i := range r.acts {
		if a := &r.acts[i]; a.stage == inLab {
			wrong = append(wrong, unansweredInLab().hold("there is no data in the lab for", a.answersOf(func(a answer) bool { return a.series == 0 }))...)
			wrong = append(wrong, zeroInLab().hold("there is nothing but zero in the lab for", a.answersOf(func(a answer) bool { return a.series > 0 && a.zero }))...)
		}
	}
	return len(answers), without, wrong
}

// answersOf returns the names of some answers.
func (a *act) answersOf(which func(answer) bool) []string {
	var out []string
	for _, answer := range a.answers {
		if which(answer) {
			out = append(out, answer.name)
		}
	}
	return out
}

// outcomes returns how many there are, and what is wrong with them: those to which the lab
// does not come, and is not excused from.
func (r *report) outcomes() (count int, wrong []string) {
	names := r.countNames()
	for i := range r.acts {
		if a := &r.acts[i]; a.stage == inLab {
			lacking := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return a.counts[name] > 0 })
			wrong = append(wrong, unreached().hold("the lab does not come to", lacking)...)
		}
	}
	return len(names), wrong
}
