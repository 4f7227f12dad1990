package relay

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// An identity provider refuses every Host but its issuer's, so the Host must be the caller's.
func TestTheHostOfTheCallerArrives(t *testing.T) {
	t.Parallel()
	hosts := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hosts <- r.Host }))
	t.Cleanup(server.Close)
	from := free(t)
	r, err := Start(Route{From: from, To: server.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + from + "/")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if got := <-hosts; got != from {
		t.Errorf("the service saw the Host %q, not %q", got, from)
	}
}

// A client that has said all may still wait for the answer.
func TestAnAnswerComesAfterTheClientHasSaidAll(t *testing.T) {
	t.Parallel()
	service, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	go func() {
		conn, err := service.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		said, _ := io.ReadAll(conn)
		_, _ = conn.Write(append([]byte("heard "), said...))
	}()
	from := free(t)
	r, err := Start(Route{From: from, To: service.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	conn, err := net.Dial("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "heard hello" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestCloseEndsOpenConnections(t *testing.T) {
	t.Parallel()
	service, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	from := free(t)
	r, err := Start(Route{From: from, To: service.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	far, err := service.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
	if _, err := net.Dial("tcp", from); err == nil {
		t.Error("the route still listens")
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	got, err := ParseRoute("9742=idp-acme:9742")
	if err != nil || got != (Route{From: "127.0.0.1:9742", To: "idp-acme:9742"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, wrong := range []string{"", "9742", "9742=idp", "=idp:1", "0=idp:1", "70000=idp:1", "1=:2", "1=idp:0", "1=idp:x"} {
		if got, err := ParseRoute(wrong); err == nil {
			t.Errorf("%q was read as %+v", wrong, got)
		}
	}
}
