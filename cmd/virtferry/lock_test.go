package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
)

// TestLockIsHeldByOne agent at a time; another waits, says for whom, and takes over.
func TestLockIsHeldByOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	unlock, err := lockNode(t.Context(), logr.Discard(), dir, "node-a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := lockNode(t.Context(), logr.Discard(), dir, "node-b")
	if err != nil {
		t.Fatalf("another node's lock: %v", err)
	}
	other()
	lines := make(chan string, 10)
	log := funcr.New(func(_, args string) { lines <- args }, funcr.Options{})
	got := make(chan error, 1)
	go func() {
		next, err := lockNode(t.Context(), log, dir, "node-a")
		if err == nil {
			next()
		}
		got <- err
	}()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	select {
	case line := <-lines:
		if !strings.Contains(line, "Waiting for another agent") || !strings.Contains(line, " of "+host) {
			t.Errorf("the log says %s", line)
		}
	case err := <-got:
		t.Fatalf("the lock was taken twice: %v", err)
	}
	unlock()
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// TestWaitingForTheLockEnds when the process is told to end.
func TestWaitingForTheLockEnds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	unlock, err := lockNode(t.Context(), logr.Discard(), dir, "node-a")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	begun := time.Now()
	if _, err := lockNode(ctx, logr.Discard(), dir, "node-a"); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}
