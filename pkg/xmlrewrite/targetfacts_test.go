package xmlrewrite

import "testing"

func TestReadTargetFacts(t *testing.T) {
	t.Parallel()
	const twoNodes = `<capabilities>
  <host>
    <uuid>5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11</uuid>
    <topology>
      <cells num='3'>
        <cell id='0'>
          <memory unit='KiB'>1</memory>
          <cpus num='3'>
            <cpu id='0' socket_id='0' die_id='0' core_id='0' siblings='0,4'/>
            <cpu id='4' socket_id='0' die_id='0' core_id='0' siblings='0,4'/>
            <cpu id='1' socket_id='0' die_id='0' core_id='1' siblings='1'/>
          </cpus>
        </cell>
        <cell id='1'>
          <cpus num='3'>
            <cpu id='2' socket_id='1' die_id='0' core_id='0' siblings='2'/>
            <cpu id='3'/>
            <cpu id='5' socket_id='1' die_id='0' core_id='1' siblings='5'/>
          </cpus>
        </cell>
        <cell id='8'>
          <cpus num='0'/>
        </cell>
      </cells>
    </topology>
  </host>
  <guest><os_type>hvm</os_type></guest>
</capabilities>`
	for _, test := range []struct {
		name, text  string
		want        TargetFacts
		wantProblem bool
	}{
		{name: "offline CPUs do not count, nodes without CPUs do", text: twoNodes, want: TargetFacts{OnlineCPUs: "0-2,4-5", NUMANodes: "0-1,8"}},
		{
			name: "without a topology all CPUs count",
			text: "<capabilities><host><topology><cells><cell id='0'><cpus><cpu id='0'/><cpu id='1'/></cpus></cell></cells></topology></host></capabilities>",
			want: TargetFacts{OnlineCPUs: "0-1", NUMANodes: "0"},
		},
		{name: "nothing is known of a host that says nothing", text: "<capabilities><host/></capabilities>"},
		{name: "what no CPU can have as its number does not count", text: "<capabilities><host><topology><cells><cell id='-1'><cpus><cpu id='65536'/></cpus></cell></cells></topology></host></capabilities>"},
		{
			name: "the highest number counts, and nodes without CPUs hide no others",
			text: "<capabilities><host><topology><cells><cell id='0'/><cell id='65535'><cpus><cpu id='65535'/><cpu id='0'/></cpus></cell></cells></topology></host></capabilities>",
			want: TargetFacts{OnlineCPUs: "0,65535", NUMANodes: "0,65535"},
		},
		{name: "what is no number is refused", text: "<capabilities><host><topology><cells><cell id='x'/></cells></topology></host></capabilities>", wantProblem: true},
		{name: "what is not asked for may be anything", text: "<capabilities><host><cache><bank id='x'/></cache></host></capabilities>"},
		{name: "a guest is no host", text: "<domain/>", wantProblem: true},
		{name: "text is no XML", text: "capabilities", wantProblem: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := ReadTargetFacts(test.text)
			if (err != nil) != test.wantProblem || got != test.want {
				t.Errorf("got %+v, %v; want %+v", got, err, test.want)
			}
			if err != nil {
				checkProblems(t, err)
			}
		})
	}
}
