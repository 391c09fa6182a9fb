package migration

import "testing"

func TestWorkersNeeded(t *testing.T) {
	const libvirts = 20 // As many as a daemon has unless it is configured otherwise.
	tests := []struct {
		name                          string
		outgoing, incoming, preparing int
		want                          int
	}{
		{"one out, two in, two prepared on each side", 1, 2, 2, 16},
		{"nothing prepared ahead", 1, 2, 0, 12},
		{"ten at a time", 5, 5, 2, 34},
	}
	for _, tt := range tests {
		if got := WorkersNeeded(tt.outgoing, tt.incoming, tt.preparing); got != tt.want {
			t.Errorf("%s: %d workers, want %d", tt.name, got, tt.want)
		}
	}
	if tests[0].want > libvirts {
		t.Error("a daemon as it comes is not enough for the limits as they come")
	}
}
