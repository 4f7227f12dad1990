package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// fixedPorts are the parts that listen, with their ports under --fixed-ports.
var fixedPorts = map[string]int{
	"temporal": 7233, "temporal-ui": 8233, "s3": 9740, "kms": 9741,
	"idp-acme": 9742, "idp-globex": 9743, "idp-hart": 9744,
	"tsa": 9745, "smtp": 9746, "mail": 9747, "idp-nord": 9748, "s3-store": 9749,
	"tsa-second": 9750, "revocation": 9751,
}

// portFlag collects --port name=N.
type portFlag map[string]int

func (p portFlag) String() string { return "" }

func (p portFlag) Set(text string) error {
	name, number, ok := strings.Cut(text, "=")
	port, err := strconv.Atoi(number)
	if !ok || err != nil || port < 1 || port > 65535 {
		return errors.New("it must be name=N with N from 1 to 65535")
	}
	if _, known := fixedPorts[name]; !known {
		return fmt.Errorf("there is no part %q", name)
	}
	p[name] = port
	return nil
}

// ports are listeners, one per part. They are opened before anything else, so that
// two stacks starting at once can't choose the same port.
type ports map[string]net.Listener

// openPorts takes the ports of ports.json, then the wanted ones, then free ones, and
// writes ports.json. A port never changes in a data directory: an issuer's URL is its
// identity, and it is in tokens, tenant files and evidence.
func openPorts(dir string, wanted portFlag) (ports, error) {
	name := filepath.Join(dir, "ports.json")
	kept := map[string]int{}
	text, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("couldn't read %s: %w", name, err)
	}
	open := ports{}
	for part := range fixedPorts {
		port := kept[part]
		if want, ok := wanted[part]; ok && port != 0 && port != want {
			open.close()
			return nil, usageError{fmt.Errorf("%s has port %d in %s and keeps it, because issuers' URLs must not change; use another --data for port %d", part, port, name, want)}
		} else if ok {
			port = want
		}
		listener, err := listen(port)
		if err != nil {
			open.close()
			return nil, fmt.Errorf("couldn't open port %d for %s; stop what uses it, or use another --data: %w", port, part, err)
		}
		open[part] = listener
		kept[part] = listener.Addr().(*net.TCPAddr).Port
	}
	if err := writeJSON(name, kept); err != nil {
		open.close()
		return nil, fmt.Errorf("couldn't write %s: %w", name, err)
	}
	return open, nil
}

// Ports for parts without one. They lie below the range from which common systems
// take ports for outgoing connections, so that a kept port is still free after a restart.
const (
	firstPort = 20000
	lastPort  = 31999
)

// listen opens a port on the loopback, or for 0 a free one.
func listen(port int) (net.Listener, error) {
	if port != 0 {
		return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	for attempt := 0; ; attempt++ {
		listener, err := listen(firstPort + rand.IntN(lastPort-firstPort+1))
		if err == nil || attempt == 100 {
			return listener, err
		}
	}
}

func (p ports) address(part string) string { return p[part].Addr().String() }
func (p ports) url(part string) string     { return "http://" + p.address(part) }

// release closes a listener for a library that opens the port itself. Another
// process could take it in between; the start then fails and says so.
func (p ports) release(part string) string {
	p[part].Close()
	return p.address(part)
}

func (p ports) close() {
	for _, listener := range p {
		listener.Close()
	}
}
