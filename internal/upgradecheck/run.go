package upgradecheck

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

const (
	// pollInterval is the time between two looks at a dry run.
	pollInterval = 500 * time.Millisecond
	// leftFor is how long a dry run stays if nobody deletes it, because this process was
	// killed.
	leftFor = 10 * time.Minute
	// cleanUpTimeout is how long deleting a dry run may take.
	cleanUpTimeout = 10 * time.Second
)

// Runner asks the nodes.
type Runner struct {
	// Client reads past all caches.
	Client client.Client
	// Namespace is where the dry runs are made.
	Namespace string
	// Node is the node whose guests are asked about, and Targets those to which they might go.
	Node    string
	Targets []string
	// Parallel is how many guests are asked about at once, and Timeout how long one answer
	// may take.
	Parallel int
	Timeout  time.Duration
}

// Run asks about each guest, until a target takes it or all were asked, and hands over what
// comes of it, one at a time and in any order. It fails where dry runs cannot be made.
func (r Runner) Run(ctx context.Context, guests []Guest, done func(Result)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan Guest, len(guests))
	for _, g := range guests {
		todo <- g
	}
	close(todo)
	var workers sync.WaitGroup
	var mu sync.Mutex
	for range min(r.Parallel, len(guests)) {
		workers.Go(func() {
			for g := range todo {
				result, err := r.ask(ctx, g)
				if err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				done(result)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// ask asks the targets one after the other: there is one migration of a guest at a time.
func (r Runner) ask(ctx context.Context, g Guest) (Result, error) {
	out := Result{Guest: g}
	for _, target := range r.Targets {
		answer, err := r.dryRun(ctx, g, target)
		if err != nil {
			return out, err
		}
		out.Answers = append(out.Answers, answer)
		if answer.Verdict == Moves {
			break
		}
	}
	return out, nil
}

// dryRun makes a dry run, waits for its end, and removes it.
func (r Runner) dryRun(ctx context.Context, g Guest, target string) (Answer, error) {
	lm := &v1alpha1.LiveMigration{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "upgrade-check-", Namespace: r.Namespace},
		Spec: v1alpha1.LiveMigrationSpec{
			Domain: g.UUID, SourceNode: r.Node, TargetNode: target, DryRun: new(true),
			TTLSecondsAfterFinished: new(int32(leftFor / time.Second)),
		},
	}
	if err := r.Client.Create(ctx, lm); err != nil { //nolint:forbidigo // It has to be a new one, with a name that nobody else has.
		return Answer{}, fmt.Errorf("making a dry run of %s: %w", g, err)
	}
	defer r.remove(ctx, lm)
	answer := Answer{Target: target, Verdict: Unanswered}
	err := wait.PollUntilContextTimeout(ctx, pollInterval, r.Timeout, true, func(ctx context.Context) (bool, error) {
		switch err := r.Client.Get(ctx, client.ObjectKeyFromObject(lm), lm); {
		case apierrors.IsNotFound(err):
			answer = Answer{Target: target, Verdict: Unanswered, Message: "somebody has deleted the dry run"}
			return true, nil
		case err != nil:
			return false, nil //nolint:nilerr // It is tried again, until the time is over.
		}
		now, ended := answerOf(lm)
		answer = now
		return ended, nil
	})
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		return Answer{}, fmt.Errorf("waiting for the dry run of %s: %w", g, context.Cause(ctx))
	}
	answer.Verdict = Unanswered
	if !errors.Is(err, context.DeadlineExceeded) || answer.Message == "" {
		answer.Message = fmt.Sprintf("no answer after %s", r.Timeout)
	} else {
		answer.Message = fmt.Sprintf("no answer after %s: %s", r.Timeout, answer.Message)
	}
	return answer, nil
}

// remove deletes a dry run, also where ctx has ended. One that stays ends by itself.
func (r Runner) remove(ctx context.Context, lm *v1alpha1.LiveMigration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	_ = r.Client.Delete(ctx, lm)
}
