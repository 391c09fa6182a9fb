//go:build linux && amd64

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// agent speaks the protocol of QEMU's guest agent, as far as tests need it. While it is deaf,
// it reads what it is told and says nothing, as an agent does that hangs. It is deafForFreeze if that
// begins when it is asked to freeze the file systems. Of these it has none that can be frozen: it
// remembers what it was asked for.
type agent struct {
	deaf, deafForFreeze atomic.Bool

	mu     sync.Mutex
	frozen bool
	asked  []string
}

// openAgent opens the port to the host: the first one of the first virtio console. It appears
// some time after its driver is loaded.
func openAgent(path string) (*os.File, error) {
	if err := loadModules("agent"); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(interval) {
		port, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil || time.Now().After(deadline) {
			return port, err
		}
	}
}

// run answers what the host says. While nobody is there, reading says that the file is at its
// end.
func (a *agent) run(port *os.File) {
	for {
		a.serve(port)
		time.Sleep(interval)
	}
}

// serve answers one request a line. A host that begins anew sends a byte that is no text
// first, and looks for the answer to its own guest-sync.
func (a *agent) serve(port io.ReadWriter) {
	lines := bufio.NewScanner(port)
	for lines.Scan() {
		line := lines.Bytes()
		if i := bytes.LastIndexByte(line, 0xff); i >= 0 {
			line = line[i+1:]
		}
		if len(bytes.TrimSpace(line)) == 0 || a.deaf.Load() {
			continue
		}
		answer, delimited := a.answer(line)
		if a.deaf.Load() {
			continue
		}
		if delimited {
			answer = append([]byte{0xff}, answer...)
		}
		if _, err := port.Write(append(answer, '\n')); err != nil {
			return
		}
	}
}

// answer carries out a request; delimited is whether the answer begins with a byte that is no
// text.
func (a *agent) answer(line []byte) (answer []byte, delimited bool) {
	var request struct {
		Execute   string `json:"execute"`
		Arguments struct {
			ID   json.Number `json:"id"`
			Time *int64      `json:"time"` // Nanoseconds since 1970.
		} `json:"arguments"`
	}
	result, err := any(struct{}{}), json.Unmarshal(line, &request)
	if err == nil {
		switch request.Execute {
		case "guest-fsfreeze-status", "guest-fsfreeze-freeze", "guest-fsfreeze-thaw":
			result, err = a.freeze(strings.TrimPrefix(request.Execute, "guest-fsfreeze-"))

		case "guest-ping":
		case "guest-sync", "guest-sync-delimited":
			result, delimited = request.Arguments.ID, request.Execute == "guest-sync-delimited"
		case "guest-get-time", "guest-set-time":
			if err = a.mayAnswer(request.Execute); err == nil {
				result, err = clockCommand(request.Execute, request.Arguments.Time)
			}
		default:
			err = fmt.Errorf("the command %s has not been found", request.Execute)
		}
	}
	reply := map[string]any{"return": result}
	if err != nil {
		reply = map[string]any{"error": map[string]string{"class": "GenericError", "desc": err.Error()}}
	}
	answer, err = json.Marshal(reply)
	if err != nil {
		return []byte(`{"error":{"class":"GenericError","desc":"no answer"}}`), false
	}
	return answer, delimited
}

// clockCommand tells the time, or sets it.
func clockCommand(command string, nanoseconds *int64) (any, error) {
	switch {
	case command == "guest-get-time":
		return time.Now().UnixNano(), nil
	case nanoseconds == nil:
		return nil, errors.New("without a time, a clock of the hardware would be needed")
	default:
		return struct{}{}, setClock(*nanoseconds)
	}
}

// freeze does what QEMU's agent does about the file systems, for one of them.
func (a *agent) freeze(command string) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if command == "status" {
		if a.frozen {
			return "frozen", nil
		}
		return "thawed", nil
	}
	if command == "freeze" && a.frozen {
		return nil, errors.New("command guest-fsfreeze-freeze has been disabled: the agent is in frozen state")
	}
	a.frozen = command == "freeze"
	a.asked = append(a.asked, fmt.Sprintf("%s@%d", command, uptime().Milliseconds()))
	if a.frozen && a.deafForFreeze.Load() {
		a.deaf.Store(true)
	}
	return 1, nil
}

// mayAnswer refuses what QEMU's agent does not do while the file systems are frozen.
func (a *agent) mayAnswer(command string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.frozen {
		return fmt.Errorf("command %s has been disabled: the agent is in frozen state", command)
	}
	return nil
}

// log tells whether the file systems are frozen, and what was done to them at which uptime in milliseconds.
func (a *agent) log() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprintf("%t %s", a.frozen, strings.Join(a.asked, " "))
}

// command has the agent hear, or not, or tells what it has done.
func (a *agent) command(argument string) string {
	switch argument {
	case "log":
		return a.log()
	case "deaf", "hears":
		a.deaf.Store(argument == "deaf")
		a.deafForFreeze.Store(false)
	case "deaf-for-freeze":
		a.deafForFreeze.Store(true)
	}
	return argument
}

// setClock sets the guest's clock, in nanoseconds since 1970.
func setClock(nanoseconds int64) error {
	return syscall.Settimeofday(new(syscall.NsecToTimeval(nanoseconds)))
}

// commandClock sets the clock to seconds since 1970, or tells it.
func commandClock(argument string) (string, error) {
	if argument != "" {
		seconds, err := strconv.ParseInt(argument, 10, 64)
		if err == nil {
			err = setClock(seconds * int64(time.Second))
		}
		return argument, err
	}
	return strconv.FormatInt(time.Now().UnixMilli(), 10), nil
}
