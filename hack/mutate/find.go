package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// The kinds of mutants, by the names that the field has for them.
const (
	kindArithmetic = "ARITHMETIC_BASE"
	kindBoundary   = "CONDITIONALS_BOUNDARY"
	kindNegation   = "CONDITIONALS_NEGATION"
	kindIncrement  = "INCREMENT_DECREMENT"
	kindAssignment = "INVERT_ASSIGNMENTS"
	kindLogical    = "INVERT_LOGICAL"
	kindLoop       = "INVERT_LOOPCTRL"
	kindNegative   = "INVERT_NEGATIVES"
)

// edit replaces a part of a file, from one offset to another. None spans lines, so that
// what is on a line stays there.
type edit struct {
	from, to int
	text     string
	// depth is how deep in the syntax tree the edit belongs, and closes is whether it ends
	// what another one has begun: at the same place, the outer one begins first and ends last.
	depth  int
	closes bool
}

// finder finds the mutants of a file, and rewrites it so that each can be switched on.
type finder struct {
	set    *token.FileSet
	info   *types.Info
	pkg    *types.Package
	file   *ast.File
	source []byte
	// path is the file's, from the root of the repository.
	path string
	// unfit are the lines whose mutants do not compile.
	unfit map[int]bool
	// next numbers the mutants of the package, from 1, and added takes them.
	next  func() int
	added func(mutant)

	stack []ast.Node
	edits []edit
}

// find goes through all functions.
func (f *finder) find() {
	for _, decl := range f.file.Decls {
		function, ok := decl.(*ast.FuncDecl)
		if !ok || function.Body == nil {
			continue
		}
		f.stack = f.stack[:0]
		ast.Inspect(function.Body, func(n ast.Node) bool {
			if n == nil {
				f.stack = f.stack[:len(f.stack)-1]
				return true
			}
			if constant(n) {
				return false
			}
			f.visit(n)
			f.stack = append(f.stack, n)
			return true
		})
	}
}

// constant reports whether the compiler has to know all of a node.
func constant(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GenDecl:
		return n.Tok == token.CONST
	case *ast.ArrayType:
		return true
	}
	return false
}

func (f *finder) visit(n ast.Node) {
	fits := func(at token.Pos) bool { return !f.unfit[f.set.Position(at).Line] }
	switch n := n.(type) {
	case *ast.BinaryExpr:
		if fits(n.OpPos) {
			f.binary(n)
		}
	case *ast.UnaryExpr:
		if n.Op == token.SUB && fits(n.OpPos) {
			f.negative(n)
		}
	case *ast.IncDecStmt:
		if fits(n.TokPos) {
			f.increment(n)
		}
	case *ast.AssignStmt:
		if fits(n.TokPos) {
			f.assign(n)
		}
	case *ast.BranchStmt:
		if fits(n.TokPos) {
			f.branch(n)
		}
	}
}

func (f *finder) negative(e *ast.UnaryExpr) {
	if of, ok := f.instance(e); ok {
		f.replace(e.OpPos, e.OpPos+1, fmt.Sprintf("mut_negate%s(%d, ", of, f.mutant(e.OpPos, kindNegative)))
		f.wrap(e, "", ")")
	}
}

func (f *finder) binary(e *ast.BinaryExpr) {
	switch e.Op { //nolint:exhaustive // The others are left alone.
	case token.EQL, token.NEQ:
		if f.info.Types[e].Value == nil {
			f.wrap(e, "((", fmt.Sprintf(") != mut_is(%d))", f.mutant(e.OpPos, kindNegation)))
		}
	case token.LSS, token.LEQ, token.GTR, token.GEQ:
		if f.info.Types[e].Value == nil {
			boundary, negation := f.mutant(e.OpPos, kindBoundary), f.mutant(e.OpPos, kindNegation)
			f.call(e, fmt.Sprintf("%s(%d, %d, ", map[token.Token]string{
				token.LSS: "mut_less", token.LEQ: "mut_atMost", token.GTR: "mut_more", token.GEQ: "mut_atLeast",
			}[e.Op], boundary, negation), ",", ")")
		}
	case token.LAND, token.LOR:
		name := map[token.Token]string{token.LAND: "mut_and", token.LOR: "mut_or"}[e.Op]
		f.call(e, fmt.Sprintf("%s(%d, ", name, f.mutant(e.OpPos, kindLogical)), ", func() bool { return (", ") })")
	case token.ADD, token.SUB, token.MUL, token.QUO, token.REM:
		if of, ok := f.instance(e); ok {
			name := map[token.Token]string{
				token.ADD: "mut_plus", token.SUB: "mut_minus", token.MUL: "mut_times", token.QUO: "mut_over", token.REM: "mut_rest",
			}[e.Op]
			f.call(e, fmt.Sprintf("%s%s(%d, ", name, of, f.mutant(e.OpPos, kindArithmetic)), ",", ")")
		}
	}
}

// instance returns the type for which a generic function has to be made where the compiler
// would not find it by itself, and whether an expression is a number at all.
func (f *finder) instance(e ast.Expr) (string, bool) {
	v := f.info.Types[e]
	if basic, ok := v.Type.Underlying().(*types.Basic); !ok || basic.Info()&types.IsNumeric == 0 || basic.Info()&types.IsUntyped != 0 {
		return "", false
	}
	if v.Value == nil {
		return "", true
	}
	known := true
	name := types.TypeString(v.Type, func(p *types.Package) string {
		if p == f.pkg {
			return ""
		}
		for _, i := range f.file.Imports {
			if strings.Trim(i.Path.Value, `"`) != p.Path() {
				continue
			}
			if i.Name != nil {
				return i.Name.Name
			}
			return p.Name()
		}
		known = false
		return ""
	})
	return "[" + name + "]", known
}

func (f *finder) increment(s *ast.IncDecStmt) {
	back := map[token.Token]string{token.INC: "--", token.DEC: "++"}[s.Tok]
	loop, ok := f.parent().(*ast.ForStmt)
	switch {
	case ok && loop.Post == s:
		name := map[token.Token]string{token.INC: "mut_up", token.DEC: "mut_down"}[s.Tok]
		f.wrap(s, fmt.Sprintf("%s(%d, &", name, f.mutant(s.TokPos, kindIncrement)), "")
		f.replace(s.TokPos, s.TokPos+2, ")")
	case f.alone(s):
		f.instead(s, f.mutant(s.TokPos, kindIncrement), f.text(s.X)+back)
	}
}

func (f *finder) assign(s *ast.AssignStmt) {
	other := map[token.Token]string{
		token.ADD_ASSIGN: "-=", token.SUB_ASSIGN: "+=", token.MUL_ASSIGN: "/=", token.QUO_ASSIGN: "*=",
	}[s.Tok]
	if other == "" || !f.alone(s) {
		return
	}
	if basic, ok := f.info.Types[s.Lhs[0]].Type.Underlying().(*types.Basic); ok && basic.Info()&types.IsNumeric != 0 {
		f.instead(s, f.mutant(s.TokPos, kindAssignment), f.text(s.Lhs[0])+" "+other+" "+f.text(s.Rhs[0]))
	}
}

// branch leaves a loop that only ends by such statements alone: the compiler knows that
// nothing comes after it.
func (f *finder) branch(s *ast.BranchStmt) {
	loop := f.loop(s.Label)
	if loop == nil || !f.alone(s) || s.Tok != token.BREAK && s.Tok != token.CONTINUE {
		return
	}
	if endless, ok := loop.(*ast.ForStmt); ok && endless.Cond == nil && s.Tok == token.CONTINUE {
		return
	}
	other := map[token.Token]string{token.BREAK: "continue", token.CONTINUE: "break"}[s.Tok]
	if s.Label != nil {
		other += " " + s.Label.Name
	}
	f.instead(s, f.mutant(s.TokPos, kindLoop), other)
}

// loop returns the loop that a statement is in, or the one of a label, or nil.
func (f *finder) loop(label *ast.Ident) ast.Node {
	for i, n := range slices.Backward(f.stack) {
		switch n.(type) {
		case *ast.FuncLit:
			return nil
		case *ast.ForStmt, *ast.RangeStmt:
			if label == nil {
				return n
			}
			if named, ok := f.stack[max(0, i-1)].(*ast.LabeledStmt); ok && named.Label.Name == label.Name {
				return n
			}
		}
	}
	return nil
}

func (f *finder) parent() ast.Node {
	if len(f.stack) == 0 {
		return nil
	}
	return f.stack[len(f.stack)-1]
}

// alone reports whether a statement is one of a list, on a line of its own, so that others
// may stand in its place.
func (f *finder) alone(s ast.Stmt) bool {
	if f.set.Position(s.Pos()).Line != f.set.Position(s.End()).Line {
		return false
	}
	switch p := f.parent().(type) {
	case *ast.BlockStmt, *ast.CaseClause:
		return true
	case *ast.CommClause:
		return p.Comm != s
	}
	return false
}

// mutant notes a mutant, and returns its number.
func (f *finder) mutant(at token.Pos, kind string) int {
	p := f.set.Position(at)
	line, _, _ := strings.Cut(string(f.source[p.Offset-(p.Column-1):]), "\n")
	m := mutant{id: f.next(), path: f.path, line: p.Line, column: p.Column, kind: kind, code: strings.TrimSpace(line)}
	f.added(m)
	return m.id
}

// call makes a call of a binary expression.
func (f *finder) call(e *ast.BinaryExpr, begin, between, end string) {
	f.wrap(e, begin, end)
	f.replace(e.OpPos, e.OpPos+token.Pos(len(e.Op.String())), between)
}

// instead has another statement stand in the place of one while a mutant is switched on.
func (f *finder) instead(s ast.Stmt, id int, other string) {
	f.wrap(s, fmt.Sprintf("if mut_is(%d) { %s } else { ", id, other), " }")
}

// wrap puts text around a node.
func (f *finder) wrap(n ast.Node, begin, end string) {
	from, to := f.offset(n.Pos()), f.offset(n.End())
	for _, e := range []edit{{from: from, to: from, text: begin}, {from: to, to: to, text: end, closes: true}} {
		if e.depth = len(f.stack); e.text != "" {
			f.edits = append(f.edits, e)
		}
	}
}

func (f *finder) replace(from, to token.Pos, text string) {
	f.edits = append(f.edits, edit{from: f.offset(from), to: f.offset(to), text: text, depth: len(f.stack)})
}

func (f *finder) offset(p token.Pos) int { return f.set.Position(p).Offset }

func (f *finder) text(n ast.Node) string {
	return string(f.source[f.offset(n.Pos()):f.offset(n.End())])
}

// rewritten returns the file with all edits.
func (f *finder) rewritten() []byte {
	slices.SortStableFunc(f.edits, func(a, b edit) int {
		if c := cmp.Compare(a.from, b.from); c != 0 {
			return c
		}
		if a.closes != b.closes {
			if a.closes {
				return -1
			}
			return 1
		}
		if a.closes {
			return cmp.Compare(b.depth, a.depth)
		}
		return cmp.Compare(a.depth, b.depth)
	})
	var out []byte
	at := 0
	for _, e := range f.edits {
		out = append(append(out, f.source[at:e.from]...), e.text...)
		at = e.to
	}
	return append(out, f.source[at:]...)
}
