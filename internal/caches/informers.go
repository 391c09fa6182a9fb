package caches

import (
	"fmt"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// NewInformer makes an informer; it is what controller-runtime's caches take.
type NewInformer func(toolscache.ListerWatcher, runtime.Object, time.Duration, toolscache.Indexers) toolscache.SharedIndexInformer

// Factory makes informers whose objects are decoded one by one.
type Factory struct {
	// Health knows whether what they hold is up to date.
	Health *Health

	client rest.Interface
}

// NewFactory returns a factory of informers on the API server of config.
func NewFactory(config *rest.Config, scheme *runtime.Scheme, log logr.Logger, c clock.PassiveClock) (*Factory, error) {
	config = rest.CopyConfig(config)
	config.GroupVersion, config.APIPath = new(v1alpha1.GroupVersion), "/apis"
	config.NegotiatedSerializer = newCodecs(scheme, log)
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for caches: %w", err)
	}
	return &Factory{Health: NewHealth(c, log), client: client}, nil
}

// NewInformer makes the informers of a cache of all objects.
func (f *Factory) NewInformer() NewInformer { return f.selecting("", fields.Everything()) }

// Selecting makes the informers of a cache of the LiveMigrations that the selector
// selects. The name tells the cache from others.
func (f *Factory) Selecting(name string, migrations fields.Selector) NewInformer {
	return f.selecting(name+"'s ", migrations)
}

func (f *Factory) selecting(prefix string, migrations fields.Selector) NewInformer {
	return func(lw toolscache.ListerWatcher, obj runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
		of := fmt.Sprintf("%T", obj)
		switch obj.(type) {
		case *v1alpha1.LiveMigration:
			lw, of = f.listerWatcher("livemigrations", migrations), prefix+"LiveMigrations"
		case *v1alpha1.Hypervisor:
			lw, of = f.listerWatcher("hypervisors", fields.Everything()), "Hypervisors"
		}
		return toolscache.NewSharedIndexInformer(f.Health.follow(of, lw), obj, resync, indexers)
	}
}

func (f *Factory) listerWatcher(resource string, selector fields.Selector) toolscache.ListerWatcher {
	return toolscache.NewFilteredListWatchFromClient(f.client, resource, metav1.NamespaceAll, func(o *metav1.ListOptions) {
		o.FieldSelector = selector.String()
	})
}
