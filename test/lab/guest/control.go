//go:build linux && amd64

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// machine is what the control port can change.
type machine struct {
	memory *dirtier
	disk   *diskWriter
	agent  *agent
}

// openControl opens the serial port on which commands come. Once it has returned,
// the port does not echo.
func openControl(path string) (*os.File, error) {
	port, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the control port: %w", err)
	}
	if err := makeRaw(port); err != nil {
		return nil, fmt.Errorf("preparing the control port: %w", err)
	}
	return port, nil
}

// serveControl reads commands, "TAG WORD...", one a line, and answers each with
// one line: "TAG ok ..." or "TAG error ...". The sender chooses the tag, by which
// it knows the answer from one that an earlier sender did not wait for. Empty
// lines are ignored: a sender begins with one, to end what another left unended.
func (m *machine) serveControl(port *os.File) {
	lines := bufio.NewScanner(port)
	for lines.Scan() {
		tag, command, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if tag == "" {
			continue
		}
		answer, err := m.command(strings.Fields(command))
		if err != nil {
			fmt.Fprintf(port, "%s error %v\n", tag, err)
			continue
		}
		fmt.Fprintf(port, "%s ok %s\n", tag, answer)
	}
}

// command carries out one command:
//
//	ping             answers with the uptime in seconds
//	dirty MIBPS      sets the memory rate
//	pattern NAME     sets the memory pattern
//	diskrate MIBPS   sets the disk rate
//	clock            answers with the clock, in milliseconds since 1970
//	clock SECONDS    sets the clock
//	agent deaf       has the guest agent answer nothing more, and agent hears again
//	agent deaf-for-freeze  has it answer nothing more from when it is asked to freeze on
//	agent log        answers whether the file systems are frozen, and what was done when
//	poweroff, reboot, panic
func (m *machine) command(words []string) (string, error) {
	if len(words) == 0 {
		return "", errors.New("no command")
	}
	argument := ""
	if len(words) > 1 {
		argument = words[1]
	}
	switch words[0] {
	case "ping":
		return fmt.Sprintf("uptime %.3f", uptime().Seconds()), nil
	case "dirty":
		return argument, setNumber(&m.memory.mibps, argument, strconv.Atoi)
	case "pattern":
		return argument, setNumber(&m.memory.hotPercent, argument, parsePattern)
	case "diskrate":
		return argument, setNumber(&m.disk.mibps, argument, strconv.Atoi)
	case "clock":
		return commandClock(argument)
	case "agent":
		return m.agent.command(argument), nil
	case "poweroff":
		endWith(syscall.LINUX_REBOOT_CMD_POWER_OFF)
		return "", nil
	case "reboot":
		endWith(syscall.LINUX_REBOOT_CMD_RESTART)
		return "", nil
	case "panic":
		return "", os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
	default:
		return "", fmt.Errorf("no command %q", words[0])
	}
}

// setNumber sets a number to what text means, unless it means none.
func setNumber(number *atomic.Int64, text string, parse func(string) (int, error)) error {
	value, err := parse(text)
	if err == nil {
		number.Store(int64(value))
	}
	return err
}

// endWith ends the guest a moment later, so that the answer gets out first.
func endWith(how int) {
	time.AfterFunc(100*time.Millisecond, func() { _ = syscall.Reboot(how) })
}

// makeRaw turns off echo and line editing, which would send commands back to
// their sender.
func makeRaw(f *os.File) error {
	var t syscall.Termios
	if err := ioctl(f, syscall.TCGETS, unsafe.Pointer(&t)); err != nil {
		return fmt.Errorf("reading the terminal settings: %w", err)
	}
	t.Iflag &^= syscall.ICRNL | syscall.INLCR | syscall.IXON
	t.Oflag &^= syscall.OPOST
	t.Lflag &^= syscall.ECHO | syscall.ICANON | syscall.ISIG | syscall.IEXTEN
	t.Cc[syscall.VMIN], t.Cc[syscall.VTIME] = 1, 0
	if err := ioctl(f, syscall.TCSETS, unsafe.Pointer(&t)); err != nil {
		return fmt.Errorf("writing the terminal settings: %w", err)
	}
	return nil
}
