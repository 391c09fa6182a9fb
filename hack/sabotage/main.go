// Command sabotage breaks the product on purpose, in one way after the other, and requires
// that the simulation notices: it is the simulation that is tried here. The ways are in
// list.go. It prints those that were not noticed, and ends with how many there are and how
// many percent of them were found.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	only := flag.String("only", "", "the names of those to try, separated by spaces; all where it is empty")
	tags := flag.String("tags", "", "build tags")
	t := trial{}
	flag.IntVar(&t.seeds, "seeds", 300, "how many seeds each is tried with")
	flag.Uint64Var(&t.first, "first", 100, "the first of them")
	flag.DurationVar(&t.limit, "limit", time.Hour, "how long the seeds of one may take")
	flag.Parse()
	t.tags = *tags
	found, err := run(t, strings.Fields(*only))
	if err != nil {
		fmt.Fprintln(os.Stderr, "sabotage:", err)
	}
	if err != nil || !found {
		os.Exit(1)
	}
}

// run tries the sabotages, and reports whether all were found that have to be.
func run(t trial, only []string) (bool, error) {
	list := sabotages()
	for _, name := range only {
		if !slices.ContainsFunc(list, func(s sabotage) bool { return s.name == name }) {
			return false, fmt.Errorf("there is no sabotage %q: see hack/sabotage/list.go", name)
		}
	}
	if len(only) > 0 {
		list = slices.DeleteFunc(list, func(s sabotage) bool { return !slices.Contains(only, s.name) })
	}
	// What no longer fits is told at once rather than after an hour.
	for _, s := range list {
		if _, err := s.texts(os.ReadFile); err != nil {
			return false, err
		}
	}
	var missed []sabotage
	for _, s := range list {
		by, err := t.try(s)
		if err != nil {
			return false, fmt.Errorf("trying the sabotage %s: %w", s.name, err)
		}
		if by == "" {
			missed = append(missed, s)
			by = "not found"
		}
		fmt.Printf("%s: %s\n", s.name, by)
	}
	why, all := notYet(), true
	for _, s := range missed {
		fmt.Printf("not_found: %s: %s", s.name, s.breaks)
		if why[s.name] != "" {
			fmt.Printf(" (known: %s)", why[s.name])
		}
		fmt.Println()
		all = all && why[s.name] != ""
	}
	fmt.Println("sabotages:", len(list))
	fmt.Println("found_percent:", 100*(len(list)-len(missed))/max(1, len(list)))
	return all, nil
}
