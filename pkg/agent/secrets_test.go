package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// encrypted is a guest whose disk and storage server need a secret each.
const encrypted = `<domain type='qemu'><name>web</name><uuid>` + guestUUID + `</uuid><devices>
  <disk type='file' device='disk'><source file='/a'><encryption format='luks'>
    <secret type='passphrase' uuid='5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11'/></encryption></source><target dev='vda'/></disk>
  <disk type='network' device='disk'><source protocol='rbd' name='pool/b'><auth username='me'><secret type='ceph' usage='client.me secret'/></auth></source>
    <target dev='vdb'/></disk>
</devices></domain>`

// TestSecretsAreLookedForOnTheTarget before anything is touched, and each that is missing is
// named.
func TestSecretsAreLookedForOnTheTarget(t *testing.T) {
	disk := hypervisor.SecretName{UUID: "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11"}
	ceph := hypervisor.SecretName{UsageType: "ceph", UsageName: "client.me secret"}
	for _, c := range []struct {
		name          string
		there         []hypervisor.SecretName
		missing, have []string
	}{
		{"none is there", nil, []string{disk.UUID, `ceph "client.me secret"`}, nil},
		{"one is there", []hypervisor.SecretName{disk}, []string{`ceph "client.me secret"`}, []string{disk.UUID}},
		{"both are there", []hypervisor.SecretName{disk, ceph}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", LiveXML: encrypted})
				for _, s := range c.there {
					w.fleet.Host("node-b").AddSecret(s, "x")
				}
				lm := w.settle(w.migrate(guestUUID))
				message := lm.Status.Conditions[0].Message
				if moved := lm.Status.Phase == v1alpha1.PhaseSucceeded; moved != (c.missing == nil) {
					t.Errorf("it is %s: %s", lm.Status.Phase, message)
				}
				for _, name := range c.missing {
					if !strings.Contains(message, name) {
						t.Errorf("%s is not named: %s", name, message)
					}
				}
				for _, name := range c.have {
					if strings.Contains(message, name) {
						t.Errorf("%s is named: %s", name, message)
					}
				}
			})
		})
	}
}

// TestSecretsOfBothDefinitions: each once, of the disks that the migrate data mean, and no
// more than a target is asked about.
func TestSecretsOfBothDefinitions(t *testing.T) {
	t.Parallel()
	uuid := func(n int) string { return fmt.Sprintf("%08d-1111-4111-8111-111111111111", n) }
	guest := func(disks ...string) hypervisor.DomainXML {
		return hypervisor.DomainXML("<domain><name>web</name><devices>" + strings.Join(disks, "") + "</devices></domain>")
	}
	disk := func(target, file string, secret int) string {
		return fmt.Sprintf("<disk type='file' device='disk'><source file='%s'><encryption format='luks'><secret type='passphrase' uuid='%s'/></encryption></source><target dev='%s'/></disk>",
			file, uuid(secret), target)
	}
	var many []string
	for n := range maxSecrets + 1 {
		many = append(many, disk(fmt.Sprint("vd", n), fmt.Sprint("/", n), n))
	}
	data := &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
		TargetDevice: new("vda"), Encryption: &v1alpha1.VolumeEncryption{SecretUUID: new(v1alpha1.UUID(uuid(3)))},
	}}}
	for name, c := range map[string]struct {
		definitions []hypervisor.DomainXML
		data        *v1alpha1.MigrateData
		want        []string
	}{
		"of a guest with one":              {[]hypervisor.DomainXML{guest(disk("vda", "/a", 1))}, nil, []string{uuid(1)}},
		"the same of both":                 {[]hypervisor.DomainXML{guest(disk("vda", "/a", 1)), guest(disk("vda", "/a", 1))}, nil, []string{uuid(1)}},
		"another of each":                  {[]hypervisor.DomainXML{guest(disk("vda", "/a", 1)), guest(disk("vdb", "/b", 2))}, nil, []string{uuid(1), uuid(2)}},
		"a new one of both":                {[]hypervisor.DomainXML{guest(disk("vda", "/a", 1)), guest(disk("vda", "/a", 1))}, data, []string{uuid(3)}},
		"a new one of the running guest":   {[]hypervisor.DomainXML{guest(disk("vda", "/a", 1)), guest(disk("vda", "/b", 2))}, data, []string{uuid(3), uuid(2)}},
		"as many as may be, and one more":  {[]hypervisor.DomainXML{guest(many...)}, nil, nil},
		"the same, and the first is known": {[]hypervisor.DomainXML{guest(many...), guest(many[0])}, nil, nil},
	} {
		s := &sourceSession{lm: &v1alpha1.LiveMigration{Spec: v1alpha1.LiveMigrationSpec{MigrateData: c.data}}}
		found, err := s.secretsOf(c.definitions)
		var got []string
		for _, r := range found {
			got = append(got, r.String())
		}
		if c.want == nil {
			if err != nil || len(got) != maxSecrets {
				t.Errorf("%s: there are %d, %v", name, len(got), err)
			}
		} else if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, %v; want %v", name, got, err, c.want)
		}
	}
}

// memorySecrets has the Secret "luks" with the key "passphrase", and may not get "others".
type memorySecrets struct{ api *memoryAPI }

const passphrase = "correct horse battery staple"

// Value implements SecretSource.
func (m *memorySecrets) Value(_ context.Context, _ string, ref v1alpha1.SecretKeyReference) (hypervisor.SecretValue, error) {
	switch {
	case ref.Name == "others":
		return nil, ErrSecretForbidden
	case ref != v1alpha1.SecretKeyReference{Name: "luks", Key: "passphrase"}:
		return nil, ErrNoSecret
	}
	return hypervisor.SecretValue(passphrase), nil
}

// Borrows implements SecretSource.
func (m *memorySecrets) Borrows(_ context.Context, name types.NamespacedName, uid types.UID) (bool, error) {
	for _, lm := range m.api.all() {
		if lm.UID == uid && lm.Name == name.Name && lm.Namespace == name.Namespace {
			return !migration.Finished(lm), nil
		}
	}
	return false, nil
}

// withSecrets is a migration of the encrypted guest with the migrate data.
func (w *world) withSecrets(change func(*v1alpha1.LiveMigration), entries ...v1alpha1.SecretMigrateData) *v1alpha1.LiveMigration {
	w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", LiveXML: encrypted, MemoryBytes: 64 << 30})
	w.fleet.Host("node-b").AddSecret(hypervisor.SecretName{UsageType: "ceph", UsageName: "client.me secret"}, "the host's own")
	return w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
		lm.Spec.MigrateData = &v1alpha1.MigrateData{Secrets: entries}
		change(lm)
	})
}

func lent(name, key string) v1alpha1.SecretMigrateData {
	return v1alpha1.SecretMigrateData{
		UUID: new(v1alpha1.UUID("5E26D0F7-8C1E-4B57-9F0E-3A8D2A0C6B11")), SecretKeyRef: v1alpha1.SecretKeyReference{Name: name, Key: key},
	}
}

// TestSecretsAreLentForTheMigration: the target has the secret while the guest is copied, and
// none of it after whatever end, nor anybody the value.
func TestSecretsAreLentForTheMigration(t *testing.T) {
	name := hypervisor.SecretName{UUID: "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11"}
	for _, c := range []struct {
		name string
		end  func(w *world, lm *v1alpha1.LiveMigration)
	}{
		{"it succeeds", func(*world, *v1alpha1.LiveMigration) {}},
		{"it is cancelled", func(w *world, lm *v1alpha1.LiveMigration) { w.ask(lm, v1alpha1.AnnotationCancel, "1") }},
		{"it fails", func(w *world, _ *v1alpha1.LiveMigration) {
			_ = w.fleet.Host("node-a").AbortJob(w.t.Context(), guestUUID)
		}},
		{"the agent is replaced", func(w *world, _ *v1alpha1.LiveMigration) { w.b.restart() }},
		{"the agent is away at the end", func(w *world, _ *v1alpha1.LiveMigration) {
			w.b.stop()
			time.Sleep(10 * time.Minute)
			w.b.start()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				b := w.fleet.Host("node-b")
				lm := w.withSecrets(func(*v1alpha1.LiveMigration) {}, lent("luks", "passphrase"))
				w.await(lm, "the job", func(lm *v1alpha1.LiveMigration) bool {
					return lm.Status.Source != nil && lm.Status.Source.JobStartedTime != nil
				})
				if got := b.Secrets()[name]; got != passphrase {
					t.Errorf("while the guest is copied, the target has %q", got)
				}
				c.end(w, lm)
				lm = w.settle(lm)
				time.Sleep(time.Minute)
				if got := b.Secrets(); len(got) != 1 {
					t.Errorf("after the end (%s), the target has %v", lm.Status.Phase, got)
				}
				if text := fmt.Sprintf("%+v", lm); strings.Contains(text, passphrase) {
					t.Errorf("the value is told: %s", text)
				}
			})
		})
	}
}

// TestSecretThatTwoBorrowIsKeptForTheSecond: the first to end does not take it away.
func TestSecretThatTwoBorrowIsKeptForTheSecond(t *testing.T) {
	inWorld(t, func(w *world) {
		b := w.fleet.Host("node-b")
		lm := w.withSecrets(func(*v1alpha1.LiveMigration) {}, lent("luks", "passphrase"))
		w.await(lm, "the job", func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.Source != nil && lm.Status.Source.JobStartedTime != nil
		})
		name := hypervisor.SecretName{UUID: "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11"}
		for _, gone := range []string{"default/gone/other-uid", "default/no name at all"} {
			if err := b.LendSecret(t.Context(), hypervisor.SecretLoan{Name: name, Borrower: gone, Value: []byte(passphrase)}); err != nil {
				t.Fatal(err)
			}
		}
		w.b.restart() // It takes back what was lent to those that are gone.
		time.Sleep(time.Minute)
		if got, err := b.SecretBorrowers(t.Context()); err != nil || len(got) != 1 || got[0] != borrower(lm) {
			t.Errorf("it is lent to %v, %v", got, err)
		}
		w.settle(lm)
	})
}

// TestSecretsThatCannotBeLent are refused, with what to do, before anything is touched.
func TestSecretsThatCannotBeLent(t *testing.T) {
	other := v1alpha1.SecretMigrateData{
		Usage:        &v1alpha1.SecretUsage{Type: v1alpha1.SecretUsageCeph, Name: "client.other secret"},
		SecretKeyRef: v1alpha1.SecretKeyReference{Name: "luks", Key: "passphrase"},
	}
	for _, c := range []struct {
		name    string
		entries []v1alpha1.SecretMigrateData
		prepare func(w *world)
		reason  string
		says    string
		code    v1alpha1.BlockerCode
	}{
		{"the host has it itself, and no value", []v1alpha1.SecretMigrateData{lent("luks", "passphrase")}, func(w *world) {
			w.fleet.Host("node-b").AddSecret(hypervisor.SecretName{UUID: "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11"}, "")
		}, v1alpha1.ReasonTargetCheckFailed, "has these secrets itself, but no value for them", v1alpha1.BlockerSecretMissing},
		{"the guest does not refer to it", []v1alpha1.SecretMigrateData{lent("luks", "passphrase"), other}, nil, v1alpha1.ReasonInvalidMigrateData, `secrets[1]: the guest's definition does not refer to the secret ceph "client.other secret"`, v1alpha1.BlockerSecretNotNeeded},
		{"it is named twice", []v1alpha1.SecretMigrateData{lent("luks", "passphrase"), {
			UUID: new(v1alpha1.UUID("5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11")), SecretKeyRef: v1alpha1.SecretKeyReference{Name: "luks", Key: "passphrase"},
		}}, nil, v1alpha1.ReasonInvalidMigrateData, "secrets[1]: secrets[0] is about the same secret", v1alpha1.BlockerSecretNotNeeded},
		{"another namespace has it on loan", []v1alpha1.SecretMigrateData{lent("luks", "passphrase")}, func(w *world) {
			w.lendTo("other/one/1")
		}, v1alpha1.ReasonTargetCheckFailed, "another namespace", v1alpha1.BlockerSecretRefused},
		{"only another migration has it on loan", nil, func(w *world) { w.lendTo("default/one/1") }, v1alpha1.ReasonTargetCheckFailed, "does not have these secrets", v1alpha1.BlockerSecretMissing},
		{"there is no such Secret", []v1alpha1.SecretMigrateData{lent("lusk", "passphrase")}, nil, v1alpha1.ReasonInvalidMigrateData, `no Secret "lusk" with the key "passphrase"`, v1alpha1.BlockerSecretUnreadable},
		{"there is no such key", []v1alpha1.SecretMigrateData{lent("luks", "key")}, nil, v1alpha1.ReasonInvalidMigrateData, `no Secret "luks" with the key "key"`, v1alpha1.BlockerSecretUnreadable},
		{"the agent may not get it", []v1alpha1.SecretMigrateData{lent("others", "passphrase")}, nil, v1alpha1.ReasonTargetCheckFailed, `may not get the Secret "others"`, v1alpha1.BlockerSecretUnreadable},
		{"libvirt does not take it", []v1alpha1.SecretMigrateData{lent("luks", "passphrase")}, func(w *world) {
			w.fleet.Host("node-b").FailNext(fake.MethodLendSecret, fake.Error(hypervisor.KindOther, "no space is left"))
		}, v1alpha1.ReasonTargetCheckFailed, "does not take the secret 5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11: no space is left. Ask an administrator to check libvirt there", v1alpha1.BlockerSecretRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				if c.prepare != nil {
					c.prepare(w)
				}
				lm := w.settle(w.withSecrets(func(*v1alpha1.LiveMigration) {}, c.entries...))
				if message := lm.Status.Conditions[0].Message; reason(lm) != c.reason || !strings.Contains(message, c.says) {
					t.Errorf("it ends as %s: %s", reason(lm), message)
				}
				if codes := blockersOf(lm); !slices.Contains(codes, c.code) {
					t.Errorf("the blockers are %v, want %s", codes, c.code)
				}
				time.Sleep(time.Minute)
				if got, err := w.fleet.Host("node-b").SecretBorrowers(t.Context()); err != nil || slices.Contains(got, borrower(lm)) {
					t.Errorf("secrets are lent to %v, %v", got, err)
				}
			})
		})
	}
}

// lendTo lends the target the secret of the disk for another migration.
func (w *world) lendTo(borrower string) {
	w.t.Helper()
	name := hypervisor.SecretName{UUID: "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11"}
	if err := w.fleet.Host("node-b").LendSecret(w.t.Context(), hypervisor.SecretLoan{Name: name, Borrower: borrower, Value: []byte("x")}); err != nil {
		w.t.Fatal(err)
	}
}

// TestNothingIsLentToAGuestThatIsRefused for another reason, and what is wrong with its secrets
// is told along with that. Nor is anything where it is the source that refuses it.
func TestNothingIsLentToAGuestThatIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		snapshots := func(*v1alpha1.LiveMigration) {
			w.fleet.Host("node-a").SetTies(guestUUID, hypervisor.Ties{Snapshots: 1})
		}
		lm := w.settle(w.withSecrets(snapshots, lent("luks", "passphrase")))
		if target := lm.Status.Target; target == nil || target.CheckedTime == nil {
			t.Fatalf("the target has not looked: %+v", lm.Status.Conditions)
		}
		if n := w.fleet.Count(fake.MethodLendSecret, ""); n > 0 {
			t.Errorf("%d secrets were lent to a guest that the source refuses", n)
		}
	})
	inWorld(t, func(w *world) {
		w.fleet.Host("node-b").AddGuest(fake.Guest{UUID: "22222222-2222-4222-8222-222222222222", Name: "web"})
		lm := w.settle(w.withSecrets(func(*v1alpha1.LiveMigration) {}, lent("luks", "passphrase"), lent("luks", "key")))
		message := lm.Status.Conditions[0].Message
		for _, says := range []string{`Another guest named "web"`, "secrets[1]: secrets[0] is about the same secret"} {
			if !strings.Contains(message, says) {
				t.Errorf("it does not say %q: %s", says, message)
			}
		}
		if n := w.fleet.Count(fake.MethodLendSecret, ""); n > 0 {
			t.Errorf("%d secrets were lent to a guest that another check refuses", n)
		}
	})
}

// TestSecretDriverThatDoesNotAnswer is waited for, as it may be being restarted, but not
// without end.
func TestSecretDriverThatDoesNotAnswer(t *testing.T) {
	noDriver := fake.Error(hypervisor.KindOther, "Failed to connect socket to virtsecretd-sock")
	noDriver.Err = hypervisor.ErrNoSecretDriver
	for _, c := range []struct {
		name    string
		prepare func(b *fake.Host)
		moves   bool
	}{
		{"it never answers when asked", func(b *fake.Host) {
			b.FailNext(fake.MethodMissingSecrets, slices.Repeat([]error{noDriver}, 1000)...)
		}, false},
		{"it never takes a secret", func(b *fake.Host) {
			b.FailNext(fake.MethodLendSecret, slices.Repeat([]error{noDriver}, 1000)...)
		}, false},
		{"it hangs", func(b *fake.Host) { b.Hang(fake.MethodMissingSecrets) }, false},
		{"it is back soon", func(b *fake.Host) {
			b.FailNext(fake.MethodMissingSecrets, slices.Repeat([]error{noDriver}, 20)...)
		}, true},
		{"it stumbles twice, long apart", func(b *fake.Host) {
			lost := fake.Error(hypervisor.KindConnectionLost, "the connection was lost")
			b.FailNext(fake.MethodMissingSecrets, noDriver)
			b.FailNext(fake.MethodMissingSecrets, slices.Repeat([]error{lost}, 200)...)
			b.FailNext(fake.MethodMissingSecrets, noDriver)
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				c.prepare(w.fleet.Host("node-b"))
				start := time.Now()
				lm := w.settle(w.withSecrets(func(*v1alpha1.LiveMigration) {}, lent("luks", "passphrase")))
				message := lm.Status.Conditions[0].Message
				if c.moves {
					if lm.Status.Phase != v1alpha1.PhaseSucceeded {
						t.Errorf("it is %s: %s", lm.Status.Phase, message)
					}
					return
				}
				if reason(lm) != v1alpha1.ReasonTargetCheckFailed || !strings.Contains(message, "secret driver on node-b does not answer") || !strings.Contains(message, "virtsecretd.socket") {
					t.Errorf("it ends as %s: %s", reason(lm), message)
				}
				if codes := blockersOf(lm); !slices.Equal(codes, []v1alpha1.BlockerCode{v1alpha1.BlockerSecretDriverSilent}) {
					t.Errorf("the blockers are %v", codes)
				}
				if took := time.Since(start); took < secretPatience || took > 2*secretPatience {
					t.Errorf("it ends after %s", took)
				}
			})
		})
	}
}

// TestSourceThatReportsNoSecrets may be older than lending, and the user told to remove what
// is right.
func TestSourceThatReportsNoSecrets(t *testing.T) {
	inWorld(t, func(w *world) {
		lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
			lm.Spec.MigrateData = &v1alpha1.MigrateData{Secrets: []v1alpha1.SecretMigrateData{lent("luks", "passphrase")}}
		}))
		message := lm.Status.Conditions[0].Message
		if reason(lm) != v1alpha1.ReasonInvalidMigrateData || !strings.Contains(message, "the agent of the source, node-a") || !strings.Contains(message, "update it") {
			t.Errorf("it ends as %s: %s", reason(lm), message)
		}
	})
}
