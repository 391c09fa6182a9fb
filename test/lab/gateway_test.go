//go:build linux

package lab

import (
	"io"
	"net"
	"testing"
)

// TestGateway: what is said on one side is heard on the other, with its end, and the answer
// comes back. (Both sides are in this process's network here.)
func TestGateway(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			heard, _ := io.ReadAll(conn)
			_, _ = conn.Write(append([]byte("heard "), heard...))
			conn.Close()
		}
	}()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := serveGateway(listener, func() (net.Conn, error) { return net.Dial("tcp", server.Addr().String()) })
	conn, err := net.Dial("tcp", g.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write([]byte("this"))
	_ = conn.(*net.TCPConn).CloseWrite()
	if answer, err := io.ReadAll(conn); err != nil || string(answer) != "heard this" {
		t.Errorf("the answer is %q, %v", answer, err)
	}
	idle, err := net.Dial("tcp", g.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	if n, err := idle.Read(make([]byte, 1)); err == nil {
		t.Errorf("a connection is open after the end, and says %d bytes", n)
	}
	if err := g.stop(); err != nil {
		t.Errorf("stopping twice: %v", err)
	}
}
