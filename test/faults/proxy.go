//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"k8s.io/client-go/tools/clientcmd"
)

// apiLink is the way of one of Virtferry's processes to the API server. When it
// is cut, nothing passes in either direction and nobody is told, as with a pulled
// cable.
type apiLink struct {
	listener net.Listener
	backend  string

	mu sync.Mutex
	// passable is closed while the link is whole.
	passable chan struct{}
}

// newAPILink makes a link to the API server that the kubeconfig names, and writes
// the link's own address into it.
func newAPILink(kubeconfig string) (*apiLink, error) {
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	l := &apiLink{listener: listener, passable: make(chan struct{})}
	close(l.passable)
	for _, cluster := range config.Clusters {
		l.backend = cluster.Server[len("https://"):]
		cluster.Server = "https://" + listener.Addr().String()
	}
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		return nil, errors.Join(fmt.Errorf("writing the kubeconfig: %w", err), listener.Close())
	}
	go l.serve()
	return l, nil
}

func (l *apiLink) close() { _ = l.listener.Close() }

// cut lets nothing pass any more.
func (l *apiLink) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.passable:
		l.passable = make(chan struct{})
	default:
	}
}

// mend undoes cut. What was under way arrives late.
func (l *apiLink) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.passable:
	default:
		close(l.passable)
	}
}

func (l *apiLink) await() {
	l.mu.Lock()
	passable := l.passable
	l.mu.Unlock()
	<-passable
}

func (l *apiLink) serve() {
	for {
		front, err := l.listener.Accept()
		if err != nil {
			return
		}
		go l.connect(front)
	}
}

// connect carries one connection until one of its ends closes it.
func (l *apiLink) connect(front net.Conn) {
	defer front.Close()
	l.await()
	back, err := net.Dial("tcp", l.backend)
	if err != nil {
		return
	}
	defer back.Close()
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{front, back}, {back, front}} {
		go func() {
			l.carry(way[0], way[1])
			ended <- struct{}{}
		}()
	}
	<-ended
}

func (l *apiLink) carry(from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.await()
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
