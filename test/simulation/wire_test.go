package simulation

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/rest"
)

// What goes wrong on the way to the API server.
var (
	errAway = errors.New("dial tcp 192.0.2.100:6443: connect: connection refused")
	errLost = errors.New("read tcp 192.0.2.1:50000->192.0.2.100:6443: connection reset by peer")
	errDead = errors.New("the process is dead")
)

// weather is what the way to the API server is like for one process.
type weather struct {
	// away is whether nobody can be reached.
	away bool
	// lossy is how many of 100 requests, and as many answers, are lost.
	lossy int
	// failing is how many of 100 requests the server answers with an error of its own, of
	// which some are carried out all the same.
	failing int
	// stalled is whether watches bring nothing for now.
	stalled bool
	// slow is added to the time that everything takes.
	slow time.Duration
}

// wire is one process's way to the API server, as an http.RoundTripper. What reads past all
// caches and what creates takes no time in a manager: it holds a lock meanwhile, for which
// the clock of a world does not wait.
type wire struct {
	server *server
	// by is who uses it, and pace how long its steps take.
	by       string
	pace     *pace
	gate     *gate
	instant  bool
	olderAPI bool

	mu      sync.Mutex
	weather weather
	dead    bool
	// changed is closed when the weather changes, broken when the watches break.
	changed, broken chan struct{}
}

func newWire(s *server, by string, p *pace) *wire {
	return &wire{server: s, by: by, pace: p, changed: make(chan struct{}), broken: make(chan struct{})}
}

// config is how a process is told to use it.
func (w *wire) config() *rest.Config {
	return &rest.Config{
		Host: "http://api", Transport: w, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"},
	}
}

// set changes the weather.
func (w *wire) set(change func(*weather)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.weather)
	close(w.changed)
	w.changed = make(chan struct{})
}

// cut breaks the watches, and kill everything for good.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.broken)
	w.broken = make(chan struct{})
}

func (w *wire) kill() {
	w.mu.Lock()
	w.dead = true
	w.mu.Unlock()
	w.set(func(*weather) {})
	w.cut()
}

func (w *wire) now() (weather, <-chan struct{}, <-chan struct{}, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.weather, w.changed, w.broken, w.dead
}

// travel is one way to the server or back; loses is whether it may be in vain.
func (w *wire) travel(ctx context.Context, step *pace, takesTime bool) error {
	if err := w.gate.pass(ctx); err != nil {
		return err
	}
	now, _, _, dead := w.now()
	switch {
	case dead:
		return errDead
	case now.away:
		return errAway
	case takesTime && !step.sleep(ctx, 300*time.Microsecond, 8*time.Millisecond+now.slow):
		return ctx.Err()
	}
	now, _, _, dead = w.now()
	switch {
	case dead && takesTime:
		return errLost // Nobody is left to be told, and what is on its way may arrive.
	case dead:
		return errDead
	case !now.away && !step.chance(now.lossy):
		return nil
	case takesTime:
		return errLost
	default:
		// One that was lost would be tried again, in a while.
		return errAway
	}
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	r, err := parse(req, w.by)
	if err != nil {
		return answer(req, nil, err), nil
	}
	query := req.URL.Query()
	watches := query.Get("watch") == "true" || query.Get("watch") == "1"
	reads := req.Method == http.MethodGet && !watches
	step := w.pace.of(req.Method + req.URL.Path)
	takesTime := !w.instant || !reads && req.Method != http.MethodPost
	if err := w.travel(req.Context(), step, takesTime); err != nil {
		if !reads && !watches && errors.Is(err, errLost) {
			w.arriveLate(req, r, step)
		}
		return nil, err
	}
	if watches {
		return w.watch(req, r, query), nil
	}
	if now, _, _, _ := w.now(); step.chance(now.failing) {
		return w.fail(req, r, query, step, takesTime), nil
	}
	o, err := w.serve(req, r, query)
	if !reads {
		// An answer may be lost though what was asked for is done.
		if err := w.travel(req.Context(), step, takesTime); err != nil {
			return nil, err
		}
	}
	if err := w.gate.pass(req.Context()); err != nil {
		return nil, err
	}
	return answer(req, o, err), nil
}

// fail answers as a server does that has too much to do, or whose etcd does not answer in
// time: then it cannot tell what has become of a write. A client waits when it has too much to
// do, so that is only told where time may pass.
func (w *wire) fail(req *http.Request, r request, query url.Values, step *pace, takesTime bool) *http.Response {
	if takesTime && step.chance(50) {
		response := answer(req, nil, apierrors.NewTooManyRequests("too many requests, please try again later", 1))
		response.Header.Set("Retry-After", "1")
		return response
	}
	if step.chance(50) {
		_, _ = w.serve(req, r, query)
	}
	return answer(req, nil, apierrors.NewInternalError(errors.New("etcdserver: request timed out")))
}

// arriveLate has some of the requests that were given up, or on their way when their process
// died, carried out all the same, seconds later, whatever has become of the process meanwhile.
func (w *wire) arriveLate(req *http.Request, r request, step *pace) {
	if req.Body == nil || !step.chance(50) {
		return
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	late := req.Clone(context.Background())
	late.Body = io.NopCloser(bytes.NewReader(body))
	go func() {
		step.sleep(context.Background(), time.Millisecond, 5*time.Second)
		_, _ = w.serve(late, r, late.URL.Query())
	}()
}

// parse finds out what a request is about.
func parse(req *http.Request, by string) (request, error) {
	r := request{by: by, owner: req.URL.Query().Get("fieldManager")}
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	if parts[0] == "api" {
		parts = parts[2:]
	} else {
		parts = parts[3:]
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		r.key.namespace, parts = parts[1], parts[2:]
	}
	for _, known := range resources {
		if known.plural == parts[0] {
			r.resource, r.key.plural = known, known.plural
		}
	}
	if r.key.plural == "" {
		return r, apierrors.NewBadRequest("unknown resource " + parts[0])
	}
	if len(parts) > 1 {
		r.key.name = parts[1]
	}
	r.status = len(parts) > 2 && parts[2] == "status"
	return r, nil
}

func (w *wire) serve(req *http.Request, r request, query url.Values) (object, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	switch {
	case req.Method == http.MethodGet && r.key.name == "":
		return w.list(r, query)
	case req.Method == http.MethodGet:
		if o, ok := w.server.get(r.key); ok {
			return o, nil
		}
		return nil, r.notFound()
	case req.Method == http.MethodDelete:
		return w.remove(r, body)
	case req.Header.Get("Content-Type") == "application/json-patch+json":
		return w.server.patch(r, body)
	}
	o, err := decode(body)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if req.Method == http.MethodPost {
		r.key.name = textIn(metaOf(o), "name")
		return w.server.create(r, o)
	}
	return w.server.apply(r, o)
}

func (w *wire) remove(r request, body []byte) (object, error) {
	o, err := decode(body)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	conditions := in(o, "preconditions")
	return w.server.remove(r, textIn(conditions, "uid"), textIn(conditions, "resourceVersion"))
}

// list lists as a server with a watch cache does: what may be of any version may be old.
func (w *wire) list(r request, query url.Values) (object, error) {
	at := 0
	if luck := w.pace.of("list " + r.key.plural); query.Get("resourceVersion") == "0" && luck.chance(50) {
		w.server.mu.Lock()
		at = max(w.server.compacted, w.server.version-luck.number(20))
		w.server.mu.Unlock()
	}
	selected, err := selection(query)
	if err != nil {
		return nil, err
	}
	all, version := w.server.list(r.key.plural, at)
	items := []any{}
	for _, o := range all {
		if selected(o) && (r.key.namespace == "" || r.key.namespace == textIn(metaOf(o), "namespace")) {
			items = append(items, o)
		}
	}
	return object{
		"apiVersion": r.resource.GroupVersion().String(), "kind": r.resource.Kind + "List",
		"metadata": object{"resourceVersion": strconv.Itoa(version)}, "items": items,
	}, nil
}

// selection says which objects a field selector selects.
func selection(query url.Values) (func(object) bool, error) {
	selector, err := fields.ParseSelector(query.Get("fieldSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return func(o object) bool {
		return o != nil && selector.Matches(fields.Set{
			"metadata.name": textIn(metaOf(o), "name"), "metadata.namespace": textIn(metaOf(o), "namespace"),
			"status.phase": textIn(in(o, "status"), "phase"), "status.sourceNode": textIn(in(o, "status"), "sourceNode"),
			"status.targetNode": textIn(in(o, "status"), "targetNode"), "status.guestLeftFrozenOn": textIn(in(o, "status"), "guestLeftFrozenOn"),
		})
	}, nil
}

func answer(req *http.Request, o object, err error) *http.Response {
	code, body := http.StatusOK, any(o)
	if err != nil {
		status := statusOf(err)
		code, body = int(status.Code), status
	}
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(encode(body))),
	}
}

// watch begins a watch.
func (w *wire) watch(req *http.Request, r request, query url.Values) *http.Response {
	selected, err := selection(query)
	if err != nil {
		return answer(req, nil, err)
	}
	version, _ := strconv.Atoi(query.Get("resourceVersion"))
	initial := query.Get("sendInitialEvents") == "true"
	if initial && w.olderAPI {
		return answer(req, nil, r.invalid([]string{"sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"}))
	}
	_, _, broken, _ := w.now()
	s := &stream{
		wire: w, pace: w.pace.of("watch " + req.URL.Path + query.Get("fieldSelector")), resource: r.resource, namespace: r.key.namespace, selected: selected, version: version, broken: broken,
	}
	s.ctx, s.cancel = context.WithCancel(req.Context())
	switch {
	case initial:
		s.sendInitial()
	case version == 0:
		_, s.version = w.server.list(r.key.plural, 0)
	case w.server.forgotten(version):
		s.cancel()
		return answer(req, nil, apierrors.NewResourceExpired("too old resource version"))
	}
	response := answer(req, object{}, nil)
	response.Body = s
	return response
}

// stream is the body of a watch.
type stream struct {
	wire      *wire
	pace      *pace
	resource  resource
	namespace string
	selected  func(object) bool
	ctx       context.Context
	cancel    context.CancelFunc
	broken    <-chan struct{}
	// version is that of the last change that was sent.
	version int
	buffer  bytes.Buffer
}

func (s *stream) sendInitial() {
	all, version := s.wire.server.list(s.resource.plural, 0)
	for _, o := range all {
		if s.concerns(o) {
			s.send("ADDED", o)
		}
	}
	s.version = version
	s.send("BOOKMARK", object{
		"apiVersion": s.resource.GroupVersion().String(), "kind": s.resource.Kind,
		"metadata": object{"resourceVersion": strconv.Itoa(version), "annotations": object{metav1.InitialEventsAnnotationKey: "true"}},
	})
}

func (s *stream) concerns(o object) bool {
	return s.selected(o) && (s.namespace == "" || s.namespace == textIn(metaOf(o), "namespace"))
}

func (s *stream) send(kind string, o object) {
	s.buffer.Write(encode(object{"type": kind, "object": o}))
	s.buffer.WriteByte('\n')
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	for s.buffer.Len() == 0 {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	return s.buffer.Read(p)
}

// next waits for the next change, and for as long as it takes to come here.
func (s *stream) next() error {
	c, ok, news := s.wire.server.since(s.version, s.resource.plural)
	if !ok {
		return s.wait(news, 0)
	}
	now, changed, _, _ := s.wire.now()
	if now.stalled || now.away {
		return s.wait(changed, 0)
	}
	if wait := time.Until(c.time.Add(s.pace.length(500*time.Microsecond, 12*time.Millisecond+now.slow))); wait > 0 {
		if err := s.wait(nil, wait); err != nil {
			return err
		}
	}
	if err := s.wire.gate.pass(s.ctx); err != nil {
		return err
	}
	s.version = c.version
	was, is := s.concerns(c.before), s.concerns(c.after)
	switch {
	case !was && is:
		s.send("ADDED", c.after)
	case was && is:
		s.send("MODIFIED", c.after)
	case was:
		last := copyOf(c.before)
		metaOf(last)["resourceVersion"] = strconv.Itoa(c.version)
		s.send("DELETED", last)
	}
	return nil
}

func (s *stream) wait(news <-chan struct{}, most time.Duration) error {
	var timer <-chan time.Time
	if most > 0 {
		t := time.NewTimer(most)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-s.broken:
		return io.ErrUnexpectedEOF
	case <-news:
	case <-timer:
	}
	return nil
}

// Close implements io.Closer.
func (s *stream) Close() error {
	s.cancel()
	return nil
}
