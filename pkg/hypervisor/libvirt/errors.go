package libvirt

import (
	"context"
	"errors"
	"strings"
	"unicode"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// maxMessage is how many bytes of a message of libvirt's are passed on.
const maxMessage = 300

var (
	errDeadline = errors.New("libvirt did not answer in time")
	errClosing  = errors.New("the client is being closed")
)

// kinds sorts libvirt's error codes; any other code is KindOther.
var kinds = map[lv.ErrorNumber]hypervisor.Kind{
	lv.ERR_NO_DOMAIN:          hypervisor.KindNoDomain,
	lv.ERR_INVALID_CONN:       hypervisor.KindConnectionLost,
	lv.ERR_NO_CONNECT:         hypervisor.KindConnectionLost,
	lv.ERR_RPC:                hypervisor.KindConnectionLost,
	lv.ERR_OPERATION_ABORTED:  hypervisor.KindAborted,
	lv.ERR_MIGRATE_UNSAFE:     hypervisor.KindUnsafe,
	lv.ERR_CONFIG_UNSUPPORTED: hypervisor.KindConfigUnsupported,
	lv.ERR_CPU_INCOMPATIBLE:   hypervisor.KindConfigUnsupported,
	lv.ERR_XML_ERROR:          hypervisor.KindConfigUnsupported,
	lv.ERR_XML_DETAIL:         hypervisor.KindConfigUnsupported,
	lv.ERR_XML_INVALID_SCHEMA: hypervisor.KindConfigUnsupported,
	lv.ERR_OPERATION_INVALID:  hypervisor.KindOperationInvalid,
	lv.ERR_OPERATION_TIMEOUT:  hypervisor.KindBusy,
	lv.ERR_RESOURCE_BUSY:      hypervisor.KindBusy,
}

// kindOf sorts an error of libvirt's. A lost connection has various codes, but
// comes from libvirt's RPC code, which reports nothing else.
func kindOf(e lv.Error) hypervisor.Kind {
	if e.Domain == lv.FROM_RPC {
		return hypervisor.KindConnectionLost
	}
	if kind, ok := kinds[e.Code]; ok {
		return kind
	}
	return hypervisor.KindOther
}

// convert returns err as an error of package hypervisor. It does not keep err
// as a cause, because messages of libvirt's may quote domain XML.
func convert(op string, err error) error {
	if err == nil {
		return nil
	}
	if done := (*hypervisor.Error)(nil); errors.As(err, &done) {
		return err
	}
	out := &hypervisor.Error{Op: op, Kind: hypervisor.KindOther, Message: sanitize(err.Error())}
	if e := (lv.Error{}); errors.As(err, &e) {
		out.Kind, out.Code, out.Domain = kindOf(e), int(e.Code), int(e.Domain)
		out.Message = sanitize(messageOf(e))
	}
	if errors.Is(err, hypervisor.ErrNotQEMU) {
		out.Err = hypervisor.ErrNotQEMU
	}
	switch notConnected := (*notConnectedError)(nil); {
	case errors.Is(err, errDeadline), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errManyHung):
		out.Kind = hypervisor.KindTimeout
	case errors.Is(err, context.Canceled), errors.Is(err, errClosing):
		out.Kind = hypervisor.KindCanceled
	case errors.As(err, &notConnected):
		out.Kind = hypervisor.KindConnectionLost
	}
	return out
}

// notSent returns the error of a call that moves a domain and was not made.
func notSent(op string, err error) error {
	message := "connecting to libvirt failed"
	if done := (*hypervisor.Error)(nil); errors.As(convert(op, err), &done) {
		message += ": " + done.Message
	}
	return &hypervisor.Error{Op: op, Kind: hypervisor.KindNotSent, Message: message}
}

// peerLost returns the error of a migration whose two daemons have lost each other.
func peerLost(op string, err error) error {
	if done := (*hypervisor.Error)(nil); errors.As(convert(op, err), &done) {
		named := *done
		named.Kind = hypervisor.KindPeerLost
		return &named
	}
	return err
}

// messageOf returns an error's message. That of a parser goes on with a part of
// the line that it could not read, which may begin within a secret.
func messageOf(e lv.Error) string {
	switch e.Code {
	case lv.ERR_XML_ERROR, lv.ERR_XML_DETAIL, lv.ERR_XML_INVALID_SCHEMA:
		first, _, _ := strings.Cut(e.Message, "\n")
		return first
	default:
		return e.Message
	}
}

// sanitize makes a message fit for users: on one line, of bounded length, and
// without the domain XML that libvirt quotes in some.
func sanitize(message string) string {
	message, _, _ = strings.Cut(message, "<")
	message = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, message)
	message = strings.TrimSpace(message)
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "..."
	}
	if message == "" {
		return "unspecified error"
	}
	return message
}

// fault returns an error that is not libvirt's.
func fault(op string, kind hypervisor.Kind, message string) error {
	return &hypervisor.Error{Op: op, Kind: kind, Message: message}
}
