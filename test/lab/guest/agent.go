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
	"sync/atomic"
	"syscall"
	"time"
)

// agent speaks the protocol of QEMU's guest agent, as far as tests need it. While it is deaf,
// it reads what it is told and says nothing, as an agent does that hangs.
type agent struct{ deaf atomic.Bool }

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
		case "guest-ping":
		case "guest-sync", "guest-sync-delimited":
			result, delimited = request.Arguments.ID, request.Execute == "guest-sync-delimited"
		case "guest-get-time":
			result = time.Now().UnixNano()
		case "guest-set-time":
			err = errors.New("without a time, a clock of the hardware would be needed")
			if request.Arguments.Time != nil {
				err = setClock(*request.Arguments.Time)
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
