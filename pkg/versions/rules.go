package versions

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"
)

//go:embed rules.yaml
var rulesText []byte

var rules = sync.OnceValue(func() []rule {
	all, err := parseRules(rulesText)
	if err != nil {
		panic(err) //nolint:forbidigo // The rules are part of the program, and a test reads them.
	}
	return all
})

// rule is an entry of rules.yaml, which explains it.
type rule struct {
	ID      string `json:"id"`
	Source  side   `json:"source"`
	Target  side   `json:"target"`
	Uses    []Use  `json:"uses"`
	Effect  Effect `json:"effect"`
	Message string `json:"message"`
	Remedy  string `json:"remedy"`
	Origin  string `json:"origin"`
}

// side is what a rule asks of one host.
type side struct {
	Libvirt span `json:"libvirt"`
	QEMU    span `json:"qemu"`
}

// span is a range of versions. An empty one holds for all, known or not.
type span []comparison

type comparison struct {
	operator string
	version  version
}

// UnmarshalText reads comparisons such as ">=11.2.0 <11.4.0".
func (s *span) UnmarshalText(text []byte) error {
	*s = nil
	for word := range strings.FieldsSeq(string(text)) {
		number := strings.TrimLeft(word, "<>=")
		c := comparison{operator: word[:len(word)-len(number)]}
		if !slices.Contains([]string{"<", ">="}, c.operator) {
			return fmt.Errorf("%q must begin with < or >=", word)
		}
		var err error
		if c.version, err = parseVersion(number); err != nil {
			return err
		}
		*s = append(*s, c)
	}
	return nil
}

func (s span) holds(text string) bool {
	if len(s) == 0 {
		return true
	}
	v, err := parseVersion(text)
	return err == nil && !slices.ContainsFunc(s, func(c comparison) bool {
		return (slices.Compare(v[:], c.version[:]) < 0) != (c.operator == "<")
	})
}

var (
	isID   = regexp.MustCompile(`^([A-Z][A-Za-z]*)$`)
	filled = regexp.MustCompile(`\{[^}]*\}`)
	blanks = []string{"{source}", "{target}", "{sourceLibvirt}", "{targetLibvirt}", "{sourceQEMU}", "{targetQEMU}"}
)

func parseRules(text []byte) ([]rule, error) {
	var all []rule
	if err := yaml.UnmarshalStrict(text, &all); err != nil {
		return nil, fmt.Errorf("the rules on versions: %w", err)
	}
	seen := map[string]bool{}
	for i := range all {
		err := all[i].check()
		if seen[all[i].ID] {
			err = errors.New("there is another one with this id")
		}
		if err != nil {
			return nil, fmt.Errorf("the rule %d on versions, %q: %w", i+1, all[i].ID, err)
		}
		seen[all[i].ID] = true
	}
	return all, nil
}

func (r *rule) check() error {
	switch {
	case !isID.MatchString(r.ID):
		return errors.New("id must be words written together")
	case r.Message == "" || r.Remedy == "" || r.Origin == "":
		return errors.New("message, remedy and origin are required")
	case strings.HasSuffix(r.Message, ".") || strings.HasSuffix(r.Remedy, "."):
		return errors.New("message and remedy end without a full stop")
	case len(r.Source.Libvirt)+len(r.Source.QEMU)+len(r.Target.Libvirt)+len(r.Target.QEMU) == 0:
		return errors.New("it asks for no version")
	}
	return r.checkWords()
}

// checkWords checks what stands for something else.
func (r *rule) checkWords() error {
	if !slices.Contains([]Effect{Warn, Refuse, SkipCPUCheck, WithholdPostCopyResume}, r.Effect) {
		return fmt.Errorf("there is no effect %q", r.Effect)
	}
	known := []Use{UsePostCopy, UseCPUThreads, UseVMX, UseLongEncryption, UseParallelCompression, UseZeroCopy, UseSwitchoverBandwidth, UseVirtioDevices, UseCopiedDisks, UseDetectZeroes, UseEncryption, UseParallelConnections, UseEmulation, UseBlockJobs}
	for _, u := range r.Uses {
		if !slices.Contains(known, u) {
			return fmt.Errorf("there is no use %q", u)
		}
	}
	for _, blank := range filled.FindAllString(r.Message+r.Remedy, -1) {
		if !slices.Contains(blanks, blank) {
			return fmt.Errorf("nothing stands for %s", blank)
		}
	}
	return nil
}
