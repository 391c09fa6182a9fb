package main

import (
	"strings"
	"testing"
)

const manifest = `spec:
  replicas: 2
  args:
  - manager
  - --flag
  env:
    NAME: x
`

func TestEdits(t *testing.T) {
	t.Parallel()
	values := map[string]any{"replicas": 2.0, "args": []any{"manager", "--flag"}, "env": map[string]any{"NAME": "y"}}
	for name, tt := range map[string]struct {
		edit edit
		// want is a part of the result, and wrong one of the error.
		want, wrong string
	}{
		"a line is replaced":          {edit: edit{at: "  replicas: ", value: "replicas", text: "  replicas: N\n"}, want: "spec:\n  replicas: N\n  args:"},
		"a list goes with its name":   {edit: edit{at: "  args:", value: "args", text: "  ARGS\n"}, want: "2\n  ARGS\n  env:\n"},
		"an item goes alone":          {edit: edit{at: "  - manager", text: "  - MANAGER\n"}, want: "args:\n  - MANAGER\n  - --flag\n"},
		"something is added":          {edit: edit{at: "  - manager", keep: true, text: "  - more\n"}, want: "  - manager\n  - more\n  - --flag\n"},
		"what is nested is kept, too": {edit: edit{at: "  env:", keep: true, text: "    MORE\n"}, want: "    NAME: x\n    MORE\n"},
		"the user's labels go before ours": {
			edit: edit{at: "  env:", labels: ".Values.labels"},
			want: "  env:\n    {{- include \"virtferry.labels\" (list .Values.labels (dict \"NAME\" \"x\")) | nindent 4 }}\n",
		},
		"a value that differs":               {edit: edit{at: "  env:", value: "env"}, wrong: "not what values.yaml has as env"},
		"a value that there is not":          {edit: edit{at: "  env:", value: "env.OTHER"}, wrong: "no env.OTHER"},
		"a place that there is not":          {edit: edit{at: "  volumes:"}, wrong: `0 lines begin with "  volumes:", not 1`},
		"a place that is there once too few": {edit: edit{at: "  env:", times: 2}, wrong: "1 lines"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.edit.apply(manifest, values)
			switch {
			case tt.wrong == "" && err != nil:
				t.Error(err)
			case tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)):
				t.Errorf("the error is %v", err)
			case !strings.Contains(got, tt.want):
				t.Errorf("this is missing:\n%s\nin:\n%s", tt.want, got)
			}
		})
	}
}

// TestTextOfTemplatesIsKept: alerts have templates of their own, which are not Helm's.
func TestTextOfTemplatesIsKept(t *testing.T) {
	t.Parallel()
	got, err := convert("description: '{{ $value }} of virtferry-system'\nmetadata:\n  namespace: virtferry-system\n", nil, nil)
	const want = "description: '{{ `{{` }} $value }} of {{ .Release.Namespace }}'\nmetadata:\n  namespace: {{ .Release.Namespace | quote }}\n"
	if err != nil || got != want {
		t.Errorf("the template is, with error %v:\n%s", err, got)
	}
}

// TestNothingIsNestedInAComment: what comes behind the comment of a list's item is not a
// part of the place.
func TestNothingIsNestedInAComment(t *testing.T) {
	t.Parallel()
	got, err := edit{at: "  # A flag.", keep: true, text: "  IF\n"}.apply("  # A flag.\n  - --flag\n", nil)
	if want := "  # A flag.\n  IF\n  - --flag\n"; err != nil || got != want {
		t.Errorf("the template is, with error %v:\n%s", err, got)
	}
}
