package main

import (
	"strings"
	"testing"
)

// TestWhatTheAgentIsToldOfItsHost is refused by the name of the flag where it cannot be.
func TestWhatTheAgentIsToldOfItsHost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string // Empty is accepted.
	}{
		{nil, ""},
		{[]string{"--migration-link-mbps=25000", "--shared-cpus=0-3"}, ""},
		{[]string{"--migration-link-mbps=-1"}, "--migration-link-mbps is -1"},
		{[]string{"--migration-link-mbps=10000001"}, "--migration-link-mbps is 10000001"},
		{[]string{"--shared-cpus=a"}, "--shared-cpus must be CPUs"},
		{[]string{"--migration-ports=9-1"}, "--migration-ports"},
		{[]string{"--allowed-paths=images"}, "--allowed-paths contains"},
		{[]string{"--transport=udp"}, "--transport is"},
		{[]string{"--transport=unix", "--peer-socket-dir=/srv/peers"}, ""},
		{[]string{"--peer-socket-dir=peers"}, "--peer-socket-dir is"},
		{[]string{"--peer-socket-dir=/srv/peers?x=y"}, "--peer-socket-dir is"},
		{[]string{"--listen-address=host"}, "--listen-address must be an IP address"},
		{[]string{"--migration-data-address=a b"}, "--migration-data-address must be"},
		{[]string{"--migration-disks-address=2001:db8::2"}, ""},
		{[]string{"--migration-disks-address=node-a"}, "--migration-disks-address must be"},
		{[]string{"--migration-disks-address=[2001:db8::2]"}, "--migration-disks-address must be"},
		{[]string{"--migration-disks-address=fe80::2"}, "--migration-disks-address must be"},
		{[]string{"--node-name="}, "--node-name is missing"},
	} {
		var f agentFlags
		cmd := agentCommand(&f)
		if err := cmd.ParseFlags(append([]string{"--node-name=node-a", "--migration-address=192.0.2.11"}, c.args...)); err != nil {
			t.Fatal(err)
		}
		config, err := f.receiveConfig()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.args, err, c.want)
		}
		if err == nil && config.LinkMbps != f.linkMbps {
			t.Errorf("%q: the link has %d Mbit/s", c.args, config.LinkMbps)
		}
	}
}
