// Package command has the commands under test/ say what they do and what they take, and refuse the rest: most
// of them make a lab and are busy for a long time, which nobody wants who has only mistyped.
package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// Variable is a variable of the environment that a command reads.
type Variable struct{ Name, Meaning string }

// KeepLab is read by all commands that have a lab.
func KeepLab() Variable {
	return Variable{"KEEP_LAB", "keep what the lab's processes have written, and say where, if it is not empty"}
}

// Parse parses the command line by the flags that are defined. What the command does is said in the help, which -h
// asks for. It ends the process after that, and for what the command does not take.
func Parse(what string, environment ...Variable) {
	flag.CommandLine.Init(flag.CommandLine.Name(), flag.ContinueOnError)
	switch err := parse(flag.CommandLine, os.Args[1:], os.Stderr, what, environment); {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case err != nil:
		os.Exit(2)
	}
}

func parse(flags *flag.FlagSet, args []string, out io.Writer, what string, environment []Variable) error {
	flags.SetOutput(out)
	flags.Usage = func() { usage(flags, what, environment) }
	if err := flags.Parse(args); err != nil {
		return err //nolint:wrapcheck // It has been printed.
	}
	return refuseArguments(flags)
}

// RefuseArguments ends the process if there is anything behind the flags, which have been parsed.
func RefuseArguments() {
	if refuseArguments(flag.CommandLine) != nil {
		os.Exit(2)
	}
}

func refuseArguments(flags *flag.FlagSet) error {
	if flags.NArg() == 0 {
		return nil
	}
	err := fmt.Errorf("unexpected argument %q; see -h", flags.Arg(0))
	fmt.Fprintln(flags.Output(), err)
	return err
}

func usage(flags *flag.FlagSet, what string, environment []Variable) {
	out := flags.Output()
	fmt.Fprintln(out, what)
	if len(environment) > 0 {
		fmt.Fprintln(out, "\nEnvironment:")
	}
	for _, v := range environment {
		fmt.Fprintf(out, "  %s\n    \t%s\n", v.Name, v.Meaning)
	}
	some := false
	flags.VisitAll(func(*flag.Flag) { some = true })
	if some {
		fmt.Fprintln(out, "\nFlags:")
		flags.PrintDefaults()
	}
}
