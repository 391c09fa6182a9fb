package libvirt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What is needed of the protocol that libvirt's daemons are administered by: its
// number and version, and two of its calls. A message is its length, a header of six
// words and a body; all of it is in XDR, words of four bytes with the highest first.
const (
	adminProgram       = 0x06900690
	adminVersion       = 1
	adminOpen          = 1
	adminGetThreadPool = 6

	messageCall  = 0
	messageReply = 1
	statusOK     = 0

	wordBytes   = 4
	headerWords = 6
	// maxReply bounds an answer, which has some hundred bytes.
	maxReply = 1 << 16
	// maxParameters is how many of them the protocol allows.
	maxParameters = 32
)

// The types of parameters whose values are a word, or two.
const (
	parameterInt, parameterUint   = 1, 2
	parameterLlong, parameterUll  = 3, 4
	parameterDouble, parameterYes = 5, 6
)

var errMalformed = errors.New("libvirt's answer is malformed")

// words encodes numbers.
func words(numbers ...uint32) []byte {
	var out []byte
	for _, n := range numbers {
		out = binary.BigEndian.AppendUint32(out, n)
	}
	return out
}

// text encodes a text: its length, and its bytes up to a whole word.
func text(s string) []byte {
	out := append(words(uint32(len(s))), s...) //nolint:gosec // It is a name.
	for len(out)%wordBytes != 0 {
		out = append(out, 0)
	}
	return out
}

// adminCall makes a call and returns the body of its answer.
func adminCall(conn io.ReadWriter, procedure uint32, body []byte) ([]byte, error) {
	const serial = 0 // There is one call at a time.
	message := append(words(adminProgram, adminVersion, procedure, messageCall, serial, statusOK), body...)
	message = append(words(uint32(wordBytes+len(message))), message...) //nolint:gosec // It is short.
	if _, err := conn.Write(message); err != nil {
		return nil, err
	}
	for {
		header, body, err := readMessage(conn)
		switch {
		case err != nil:
			return nil, err
		case header[0] != adminProgram || header[3] != messageReply:
			continue // It probes whether we are there.
		case header[2] != procedure:
			return nil, errMalformed
		case header[5] != statusOK:
			return nil, adminError(body)
		}
		return body, nil
	}
}

// readMessage reads a message.
func readMessage(conn io.Reader) (header [headerWords]uint32, body []byte, err error) {
	var length uint32
	if err := binary.Read(conn, binary.BigEndian, &length); err != nil {
		return header, nil, err
	}
	if length < wordBytes*(1+headerWords) || length > maxReply {
		return header, nil, errMalformed
	}
	if err := binary.Read(conn, binary.BigEndian, &header); err != nil {
		return header, nil, err
	}
	body = make([]byte, length-wordBytes*(1+headerWords))
	_, err = io.ReadFull(conn, body)
	return header, body, err
}

// adminError returns the error in the body of an answer: its code, where it comes
// from, and a message that may be missing.
func adminError(body []byte) error {
	d := decoder{rest: body}
	code := d.word()
	d.word()
	var message string
	if d.word() != 0 {
		message = d.text()
	}
	if d.failed {
		return errMalformed
	}
	return fmt.Errorf("libvirt's error %d: %s", code, message)
}

// readParameters decodes parameters, of which it returns those that are words.
func readParameters(body []byte) (map[string]uint32, error) {
	d := decoder{rest: body}
	count := d.word()
	if count > maxParameters {
		return nil, errMalformed
	}
	out := map[string]uint32{}
	for range count {
		name := d.text()
		switch d.word() {
		case parameterInt, parameterUint, parameterYes:
			out[name] = d.word()
		case parameterLlong, parameterUll, parameterDouble:
			d.word()
			d.word()
		default:
			d.text()
		}
	}
	if d.failed {
		return nil, errMalformed
	}
	return out, nil
}

// decoder reads what is encoded. Once there is too little of it, all that it reads is
// zero, and failed is true.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) take(n int) []byte {
	if d.failed || n > len(d.rest) {
		d.failed = true
		return nil
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) word() uint32 {
	if taken := d.take(wordBytes); taken != nil {
		return binary.BigEndian.Uint32(taken)
	}
	return 0
}

func (d *decoder) text() string {
	n := d.word()
	if n > maxReply {
		d.failed = true
		return ""
	}
	s := string(d.take(int(n)))
	d.take((wordBytes - int(n)%wordBytes) % wordBytes)
	return s
}
