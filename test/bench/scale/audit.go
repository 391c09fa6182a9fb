//go:build linux

package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// auditPolicy makes the API server write down every request of the manager and the
// agents. A watch is written down when it ends.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
omitManagedFields: true
rules:
- level: Metadata
  users:
  - system:serviceaccount:virtferry-system:virtferry-manager
  - system:serviceaccount:virtferry-system:virtferry-agent
- level: None
`

// auditLog is what the API server has written down.
type auditLog struct {
	path   string
	offset int64
}

// request is a kind of request.
type request struct{ who, verb, resource string }

// requests are how many there were of each kind.
type requests map[request]int

// requests returns what has been asked since the last call. Signs of life are not
// counted: agents and the leader give them however many migrations there are.
func (a *auditLog) requests() (requests, error) {
	file, err := os.Open(a.path)
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	defer file.Close()
	if _, err := file.Seek(a.offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	found := requests{}
	for lines := bufio.NewReader(file); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return found, nil // A line that is being written counts next time.
		}
		if err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		a.offset += int64(len(line))
		if err := found.add(line); err != nil {
			return nil, err
		}
	}
}

func (r requests) add(line []byte) error {
	var event struct {
		Verb string `json:"verb"`
		User struct {
			Username string `json:"username"`
		} `json:"user"`
		ObjectRef struct {
			Resource    string `json:"resource"`
			Subresource string `json:"subresource"`
			Name        string `json:"name"`
		} `json:"objectRef"`
	}
	if err := json.Unmarshal(line, &event); err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	ref := event.ObjectRef
	if ref.Resource == "leases" && (ref.Name == "virtferry-manager" || strings.HasPrefix(ref.Name, v1alpha1.AgentLeaseName(""))) {
		return nil
	}
	if ref.Subresource != "" {
		ref.Resource += "/" + ref.Subresource
	}
	who := event.User.Username[strings.LastIndex(event.User.Username, ":")+1:]
	r[request{who, event.Verb, ref.Resource}]++
	return nil
}

func (r requests) total() int {
	total := 0
	for _, n := range r {
		total += n
	}
	return total
}

// print prints how many requests each of so many migrations took.
func (r requests) print(w io.Writer, migrations int) {
	kinds := make([]request, 0, len(r))
	for kind := range r {
		kinds = append(kinds, kind)
	}
	slices.SortFunc(kinds, func(a, b request) int {
		return cmp.Or(cmp.Compare(b.who, a.who), cmp.Compare(r[b], r[a]), cmp.Compare(a.resource+a.verb, b.resource+b.verb))
	})
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, kind := range kinds {
		fmt.Fprintf(table, "  %s\t%s\t%s\t%.2f\n", kind.who, kind.verb, kind.resource, float64(r[kind])/float64(migrations))
	}
	_ = table.Flush()
}
