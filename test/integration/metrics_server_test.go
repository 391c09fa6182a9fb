//go:build integration

package integration

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/virtferry/virtferry/internal/metrics/serving"
)

// TestWhoMayReadMetrics: whom the API server lets, of the manager as of an agent, and
// nobody without TLS.
func TestWhoMayReadMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "reader", Namespace: w.name}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "virtferry-metrics-reader"},
	})
	reader, other := w.tokenOf("reader"), w.tokenOf("other")
	// The metrics' server remembers for a while whom the API server has refused.
	if !poll(t.Context(), func() bool { return w.mayReadMetrics("reader") }) {
		t.Fatal("the role does not come into force")
	}
	for _, who := range []string{managerAccount, agentAccount} {
		t.Run(who, func(t *testing.T) {
			address := serveMetrics(t, asServiceAccount(who))
			for _, c := range []struct {
				name, url, token string
				// want is the answer; 0 is any but that which has the metrics.
				want int
			}{
				{"one who may", "https://" + address, reader, http.StatusOK},
				{"one who may not", "https://" + address, other, http.StatusForbidden},
				{"one who makes a token up", "https://" + address, "made-up", 0},
				{"nobody", "https://" + address, "", http.StatusUnauthorized},
				{"one who may, in plain", "http://" + address, reader, 0},
			} {
				status, text := get(t, c.url+"/metrics", c.token)
				if c.want != 0 && status != c.want {
					t.Errorf("%s gets %d: %s", c.name, status, text)
				}
				if strings.Contains(text, "# TYPE ") != (c.want == http.StatusOK) {
					t.Errorf("%s gets this with %d: %s", c.name, status, text)
				}
			}
		})
	}
}

// tokenOf makes a service account of the world and returns a token of it.
func (w *world) tokenOf(account string) string {
	w.t.Helper()
	w.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: w.name}})
	api, err := kubernetes.NewForConfig(cluster.config)
	if err != nil {
		w.t.Fatal(err)
	}
	token, err := api.CoreV1().ServiceAccounts(w.name).CreateToken(w.t.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return token.Status.Token
}

// mayReadMetrics asks the API server whether one of the world's service accounts may.
func (w *world) mayReadMetrics(account string) bool {
	w.t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:                  "system:serviceaccount:" + w.name + ":" + account,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"},
	}}
	if err := cluster.client.Create(w.t.Context(), review); err != nil {
		w.t.Fatal(err)
	}
	return review.Status.Allowed
}

// serveMetrics serves metrics with the rights of who, until the test ends.
func serveMetrics(t *testing.T, who *rest.Config) (address string) {
	t.Helper()
	options, err := serving.Config{Address: "127.0.0.1:0", Secure: true}.Options()
	if err != nil {
		t.Fatal(err)
	}
	httpClient, err := rest.HTTPClientFor(who)
	if err != nil {
		t.Fatal(err)
	}
	server, err := metricsserver.NewServer(options, who, httpClient)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended: %v", err)
		}
	})
	bound := server.(interface{ GetBindAddr() string })
	if !poll(t.Context(), func() bool { return bound.GetBindAddr() != "" }) {
		t.Fatal("the server does not listen")
	}
	return bound.GetBindAddr()
}

// get asks for a page. Who serves it has a certificate that nobody can verify.
func get(t *testing.T, url, token string) (status int, text string) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return 0, fmt.Sprint(err)
	}
	defer response.Body.Close()
	// A connection that is broken off in the middle has said something, too.
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, fmt.Sprint(string(body), err)
}
