package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// What the linker is told where an image is built, which is without the repository.
// Elsewhere, Go knows both from the repository.
var version, revision string

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print which version this is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), describeVersion(version, revision, debug.ReadBuildInfo))
			return err
		},
	}
}

// describeVersion says what was built, from which revision, with what and for what. What
// it is not told, it takes from the build information.
func describeVersion(version, revision string, read func() (*debug.BuildInfo, bool)) string {
	if info, ok := read(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && revision == "" {
				revision = s.Value
			}
		}
		if version == "" {
			version = info.Main.Version
		}
	}
	if version == "" {
		version = "unknown"
	}
	if revision == "" {
		revision = "unknown"
	}
	return fmt.Sprintf("virtferry %s, revision %s, %s, %s/%s", version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
