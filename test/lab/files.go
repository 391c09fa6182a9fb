//go:build linux

package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// makeDir makes a directory whole or not at all: fill works on a temporary one
// beside it, which is renamed at the end. When someone else was faster, theirs
// stays, since equal names mean equal contents.
func makeDir(dir string, fill func(tmp string) error) error {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(parent, ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := fill(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, statErr := os.Stat(dir); statErr != nil {
			return err
		}
	}
	return nil
}

// onlyFile returns the one file that matches a pattern.
func onlyFile(pattern string) (string, error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	if len(files) != 1 {
		return "", fmt.Errorf("looking for one %s: there are %d", filepath.Base(pattern), len(files))
	}
	return files[0], nil
}

// copyFile copies a file's content.
func copyFile(source, target string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(target)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("copying %s: %w", source, err)
	}
	return out.Close()
}

// copyWhole copies a file's content to a name under which others may look for it
// at the same time: they find all of it, or nothing.
func copyWhole(source, target string) error {
	tmp, err := os.CreateTemp(filepath.Dir(target), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // It is there only when something failed.
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := copyFile(source, tmp.Name()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), target)
}

// linkFile makes another name for a file, or a copy where that cannot be done.
func linkFile(source, target string) error {
	if err := os.Link(source, target); err == nil {
		return nil
	}
	return copyFile(source, target)
}

// groupCommand is exec.CommandContext for a command that starts others: when ctx
// ends, all of them are killed.
func groupCommand(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// commandIn runs a command in a directory and returns its standard output.
func commandIn(ctx context.Context, dir, name string, args ...string) (string, error) {
	var stderr strings.Builder
	cmd := groupCommand(ctx, name, args...)
	cmd.Dir, cmd.Stderr = dir, &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("running %s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}
