package sample

import (
	"testing"
	"time"
)

func Test(t *testing.T) {
	if least(1, 2) != 1 || least(2, 1) != 1 {
		t.Error("least")
	}
	if !both(true, true) || either(false, false) || !either(true, false) {
		t.Error("both or either")
	}
	if sum, n := until([]int{1, 2, 0, 3}, 0); sum != 3 || n != 2 {
		t.Error("until")
	}
	if text("a") != "a!" {
		t.Error("text")
	}
}

func TestDeadline(t *testing.T) {
	if deadline(time.Second) != 119*time.Second {
		t.Error("deadline")
	}
}
