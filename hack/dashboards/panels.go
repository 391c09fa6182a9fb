package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// The panels' sizes, on a grid that is 24 wide.
const (
	heightOfStat  = 4
	heightOfPanel = 8
	quarter       = 6
	third         = 8
	half          = 12
	whole         = 24
)

// source is the variable that says which Prometheus is asked.
func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

// query is what a panel asks Prometheus.
type query struct {
	expr string
	// legend names each series, by its labels in braces.
	legend string
}

func (q query) over() cog.Builder[variants.Dataquery] {
	return prometheus.NewDataqueryBuilder().Datasource(source()).Expr(q.expr).LegendFormat(q.legend).Range()
}

// now asks for one value of each series, over the time that the dashboard shows.
func (q query) now() cog.Builder[variants.Dataquery] {
	return prometheus.NewDataqueryBuilder().Datasource(source()).Expr(q.expr).LegendFormat(q.legend).Instant()
}

// about is what all panels have.
type about struct {
	title string
	// help says what is to be seen, and what about it is bad.
	help string
	unit string
	span uint32
}

// lines is a panel of curves.
func lines(a about, queries ...query) *timeseries.PanelBuilder {
	p := timeseries.NewPanelBuilder().Title(a.title).Description(a.help).Datasource(source()).
		Unit(a.unit).Span(a.span).Height(heightOfPanel).Min(0).
		FillOpacity(10).ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom).ShowLegend(true)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	for _, q := range queries {
		p.WithTarget(q.over())
	}
	return p
}

// stacked is a panel of bars, one on the other.
func stacked(a about, queries ...query) *timeseries.PanelBuilder {
	return lines(a, queries...).DrawStyle(common.GraphDrawStyleBars).FillOpacity(60).LineWidth(0).
		Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal))
}

// number is a panel of one number, green below alarm and red from there on. An alarm of
// 0 has it green always.
func number(a about, alarm float64, q query) *stat.PanelBuilder {
	steps := []dashboard.Threshold{{Color: "green"}}
	if alarm != 0 {
		steps = append(steps, dashboard.Threshold{Color: "red", Value: cog.ToPtr(alarm)})
	}
	return stat.NewPanelBuilder().Title(a.title).Description(a.help).Datasource(source()).
		Unit(a.unit).Span(a.span).Height(heightOfStat).GraphMode(common.BigValueGraphModeArea).
		Thresholds(dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps)).
		ColorMode(common.BigValueColorModeValue).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		WithTarget(q.over())
}

// heat is a heat map of a histogram: when, how much, how often.
func heat(a about, histogram string) *heatmap.PanelBuilder {
	return heatmap.NewPanelBuilder().Title(a.title).Description(a.help).Datasource(source()).
		Span(a.span).Height(heightOfPanel).Calculate(false).
		YAxis(heatmap.NewYAxisConfigBuilder().Unit(a.unit)).
		Color(heatmap.NewHeatmapColorOptionsBuilder().Mode(heatmap.HeatmapColorModeScheme).Scheme("Oranges").Steps(64)).
		WithTarget(prometheus.NewDataqueryBuilder().Datasource(source()).Format(prometheus.PromQueryFormatHeatmap).LegendFormat("{{le}}").Range().
			Expr("sum by (le) (increase(" + histogram + "_bucket[$__rate_interval]))"))
}

// ranking is a panel of bars, one for each series, the longest first.
func ranking(a about, q query) *bargauge.PanelBuilder {
	return bargauge.NewPanelBuilder().Title(a.title).Description(a.help).Datasource(source()).
		Unit(a.unit).Span(a.span).Height(heightOfPanel).Orientation(common.VizOrientationHorizontal).DisplayMode(common.BarGaugeDisplayModeBasic).
		NoValue("none").Decimals(0).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		WithTarget(q.now())
}

// matrix is a table of one value for each source and each target.
func matrix(a about, expr string) *table.PanelBuilder {
	return table.NewPanelBuilder().Title(a.title).Description(a.help).Datasource(source()).
		Unit(a.unit).Decimals(0).Span(a.span).Height(heightOfPanel).NoValue("–").
		WithTarget(prometheus.NewDataqueryBuilder().Datasource(source()).Expr(expr).Format(prometheus.PromQueryFormatTable).Instant()).
		WithTransformation(dashboard.DataTransformerConfig{Id: "groupingToMatrix", Options: map[string]any{
			"rowField": "source_node", "columnField": "target_node", "valueField": "Value", "emptyValue": "null",
		}})
}

// states is a panel of what was true when, 1 being good and 0 bad.
func states(a about, good, bad string, queries ...query) *statetimeline.PanelBuilder {
	text := func(s, color string) dashboard.ValueMappingResult {
		return dashboard.ValueMappingResult{Text: cog.ToPtr(s), Color: cog.ToPtr(color)}
	}
	p := statetimeline.NewPanelBuilder().Title(a.title).Description(a.help).Datasource(source()).
		Span(a.span).Height(heightOfPanel).ShowValue(common.VisibilityModeNever).
		Mappings([]dashboard.ValueMapping{{ValueMap: &dashboard.ValueMap{
			Type: dashboard.MappingTypeValueToText, Options: map[string]dashboard.ValueMappingResult{"0": text(bad, "red"), "1": text(good, "green")},
		}}})
	for _, q := range queries {
		p.WithTarget(q.over())
	}
	return p
}

// board is a dashboard with what all have.
func board(uid, title, description string) *dashboard.DashboardBuilder {
	return dashboard.NewDashboardBuilder(title).Uid(uid).Description(description).
		Tags([]string{"virtferry"}).Timezone(common.TimeZoneBrowser).Refresh("30s").Time("now-6h", "now").Editable().
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(dashboard.NewDashboardLinkBuilder("Virtferry").Type(dashboard.DashboardLinkTypeDashboards).
			Tags([]string{"virtferry"}).AsDropdown(true).IncludeVars(true).KeepTime(true)).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus"))
}

// choice is a variable of the values of a label.
func choice(name, label, of string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).Label(label).Datasource(source()).
		Query(dashboard.StringOrMap{String: cog.ToPtr("label_values(" + of + ")")}).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc)
}

// quantiles are the median and the 99th percentile of a histogram, over the time that
// the dashboard shows up to each moment.
func quantiles(histogram, by, legend string) []query {
	labels := "le"
	if by != "" {
		labels += ", " + by
	}
	of := "sum by (" + labels + ") (increase(" + histogram + "_bucket[$__range]))"
	return []query{
		{"histogram_quantile(0.5, " + of + ")", legend + "median"},
		{"histogram_quantile(0.99, " + of + ")", legend + "99 %"},
	}
}

// The units.
const (
	count          = units.Short
	seconds        = units.Seconds
	bytes          = units.BytesIEC
	bytesPerSecond = units.BytesPerSecondIEC
	ratio          = units.PercentUnit
)
