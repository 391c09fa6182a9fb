//go:build linux

package lab

import (
	"context"
	"fmt"
	"path/filepath"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// tokenLifetimeSeconds is longer than any lab runs.
const tokenLifetimeSeconds = 7 * 24 * 3600

// Account is a service account, and the node that its pod runs on.
type Account struct {
	Namespace, Name string
	// Node makes the token one of a pod on this node, as a DaemonSet's is: it
	// carries the node's name, which admission policies can read. Empty means a
	// token without a pod.
	Node string
}

// AccountKubeconfig writes a kubeconfig for a service account and returns its
// path. Namespace, account, node and pod are made when they are missing; roles are
// the caller's business. The pod is an object only: nothing runs it.
func (c *ControlPlane) AccountKubeconfig(ctx context.Context, account Account) (string, error) {
	api, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		return "", fmt.Errorf("making a client: %w", err)
	}
	request := &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(tokenLifetimeSeconds))},
	}
	if err := ensureAccount(ctx, api, account); err != nil {
		return "", err
	}
	if account.Node != "" {
		pod, err := ensurePod(ctx, api, account)
		if err != nil {
			return "", err
		}
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{
			Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID,
		}
	}
	token, err := api.CoreV1().ServiceAccounts(account.Namespace).CreateToken(ctx, account.Name, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("requesting a token for %s/%s: %w", account.Namespace, account.Name, err)
	}
	path := filepath.Join(c.dir, account.fileName())
	return path, c.writeKubeconfig(path, credentials{token: token.Status.Token})
}

// fileName is where the account's kubeconfig goes.
func (a Account) fileName() string {
	name := a.Namespace + "-" + a.Name
	if a.Node != "" {
		name += "-" + a.Node
	}
	return name + ".kubeconfig"
}

// ensureAccount makes the namespace and the service account when they are missing.
func ensureAccount(ctx context.Context, api kubernetes.Interface, account Account) error {
	if err := ensureNamespace(ctx, api, account.Namespace); err != nil {
		return err
	}
	object := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account.Name, Namespace: account.Namespace}}
	_, err := api.CoreV1().ServiceAccounts(account.Namespace).Create(ctx, object, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making service account %s/%s: %w", account.Namespace, account.Name, err)
	}
	return nil
}

// EnsureNamespace makes a namespace when it is missing.
func (c *ControlPlane) EnsureNamespace(ctx context.Context, name string) error {
	api, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	return ensureNamespace(ctx, api, name)
}

func ensureNamespace(ctx context.Context, api kubernetes.Interface, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := api.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making namespace %s: %w", name, err)
	}
	return nil
}

// EnsureNode makes a Node object for a host, or any other name, when it is
// missing.
func (c *ControlPlane) EnsureNode(ctx context.Context, name string) error {
	api, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	return ensureNode(ctx, api, name)
}

func ensureNode(ctx context.Context, api kubernetes.Interface, name string) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{corev1.LabelHostname: name},
	}}
	_, err := api.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making node %s: %w", name, err)
	}
	return nil
}

// ensurePod returns the pod of an account on its node, and makes both when they
// are missing.
func ensurePod(ctx context.Context, api kubernetes.Interface, account Account) (*corev1.Pod, error) {
	if err := ensureNode(ctx, api, account.Node); err != nil {
		return nil, err
	}
	pods := api.CoreV1().Pods(account.Namespace)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: account.Name + "-" + account.Node},
		Spec: corev1.PodSpec{
			NodeName: account.Node, ServiceAccountName: account.Name,
			Containers: []corev1.Container{{Name: "placeholder", Image: "placeholder"}},
		},
	}
	made, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		made, err = pods.Get(ctx, pod.Name, metav1.GetOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("making pod %s/%s: %w", account.Namespace, pod.Name, err)
	}
	return made, nil
}
