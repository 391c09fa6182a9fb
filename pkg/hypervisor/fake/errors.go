package fake

import (
	"errors"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// The numbers of libvirt's that go with kinds of errors.
const (
	codeInternal         = 1
	codeOperationFailed  = 9
	codeSystem           = 38
	codeNoDomain         = 42
	codeOperationInvalid = 55
	codeAborted          = 78
	codeUnsafe           = 81

	domainRPC  = 7
	domainQEMU = 10
)

// Error returns an error such as a hypervisor returns, for faults to inject.
func Error(kind hypervisor.Kind, message string) *hypervisor.Error {
	e := &hypervisor.Error{Kind: kind, Message: message, Domain: domainQEMU}
	switch kind {
	case hypervisor.KindNoDomain:
		e.Code = codeNoDomain
	case hypervisor.KindConnectionLost, hypervisor.KindPeerLost:
		e.Code, e.Domain = codeSystem, domainRPC
	case hypervisor.KindAborted:
		e.Code = codeAborted
	case hypervisor.KindUnsafe:
		e.Code = codeUnsafe
	case hypervisor.KindConfigUnsupported:
		e.Code = 67
	case hypervisor.KindOperationInvalid:
		e.Code = codeOperationInvalid
	case hypervisor.KindBusy:
		e.Code = 68
	case hypervisor.KindTimeout, hypervisor.KindCanceled, hypervisor.KindNotSent:
		e.Domain = 0
	case hypervisor.KindOther:
		e.Code = codeOperationFailed
	}
	return e
}

// fault returns an error of a method.
func fault(method Method, kind hypervisor.Kind, message string) error {
	e := Error(kind, message)
	e.Op = operations[method]
	return e
}

// refused returns an error of kind KindOperationInvalid with a cause.
func refused(method Method, cause error) error {
	return &hypervisor.Error{
		Op: operations[method], Kind: hypervisor.KindOperationInvalid, Message: cause.Error(), Err: cause,
	}
}

// injected returns an injected error as one of the method's.
func injected(method Method, err error) error {
	var e *hypervisor.Error
	if !errors.As(err, &e) {
		return &hypervisor.Error{Op: operations[method], Kind: hypervisor.KindOther, Message: err.Error(), Err: err}
	}
	named := *e
	if named.Op == "" {
		named.Op = operations[method]
	}
	return &named
}

func noDomain(method Method, uuid string) error {
	return fault(method, hypervisor.KindNoDomain, "Domain not found: no domain with matching uuid '"+uuid+"'")
}

// peerLost returns the error of a migration whose two daemons have lost each other.
func peerLost() error {
	return fault(MethodMigrate, hypervisor.KindPeerLost, "internal error: client socket is closed")
}

func lostConnection(method Method) error {
	return fault(method, hypervisor.KindConnectionLost, "End of file while reading data: Input/output error")
}

func notRunning(method Method) error {
	return fault(method, hypervisor.KindOperationInvalid, "Requested operation is not valid: domain is not running")
}
