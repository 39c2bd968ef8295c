//! Where a file can be changed, and into what.

use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, ReturnType, Stmt, Type, UnOp};

/// One change of one place.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// What takes the place's text.
    pub(crate) text: String,
    /// For people, and the name under which a reason is kept.
    pub(crate) what: String,
}

/// How the changes of a place are written into the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `(if on(1) { changed } else { as it was })`
    Expression,
    /// `if !on(1) { as it was }`
    Statement,
    /// `if on(1) { return changed; }` at the begin of a function.
    Begin,
    /// ` if !on(1)` behind a pattern.
    Arm,
    /// `field: if on(1) { changed } else { field }`
    Shorthand,
}

/// A place that can be changed.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) range: Range<usize>,
    pub(crate) form: Form,
    pub(crate) changes: Vec<Change>,
    pub(crate) function: String,
    pub(crate) line: usize,
}

/// Every place of a file, outer before inner.
pub(crate) fn places(source: &str) -> Vec<Place> {
    let file = syn::parse_file(source).expect("the crate compiles, so it parses");
    let mut finder = Finder { source, places: Vec::new(), names: Vec::new() };
    finder.visit_file(&file);
    let mut places = finder.places;
    // Stable: of two places with one range the outer was found first.
    places.sort_by_key(|place| (place.range.start, !place.range.is_empty(), std::cmp::Reverse(place.range.end)));
    places
}

struct Finder<'s> {
    source: &'s str,
    places: Vec<Place>,
    names: Vec<String>,
}

fn range(node: &impl Spanned) -> Range<usize> {
    node.span().byte_range()
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test")))
    })
}

/// One line, and not a long one.
fn short(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= 70 {
        return words;
    }
    let head: String = words.chars().take(50).collect();
    let tail: Vec<char> = words.chars().rev().take(15).collect();
    format!("{head} … {}", tail.into_iter().rev().collect::<String>())
}

/// What a binary operator becomes.
fn others(op: &BinOp) -> &'static [&'static str] {
    match op {
        BinOp::Eq(_) => &["!="],
        BinOp::Ne(_) => &["=="],
        BinOp::Lt(_) => &["==", ">", "<="],
        BinOp::Gt(_) => &["==", "<", ">="],
        BinOp::Le(_) => &[">", "<"],
        BinOp::Ge(_) => &["<", ">"],
        BinOp::And(_) => &["||"],
        BinOp::Or(_) => &["&&"],
        BinOp::Add(_) => &["-", "*"],
        BinOp::Sub(_) => &["+", "/"],
        BinOp::Mul(_) => &["+", "/"],
        BinOp::Div(_) => &["%", "*"],
        BinOp::Rem(_) => &["/", "+"],
        BinOp::Shl(_) => &[">>"],
        BinOp::Shr(_) => &["<<"],
        BinOp::BitAnd(_) => &["|", "^"],
        BinOp::BitOr(_) => &["&", "^"],
        BinOp::BitXor(_) => &["|", "&"],
        BinOp::AddAssign(_) => &["-=", "*="],
        BinOp::SubAssign(_) => &["+=", "/="],
        BinOp::MulAssign(_) => &["+=", "/="],
        BinOp::DivAssign(_) => &["%=", "*="],
        BinOp::RemAssign(_) => &["/=", "+="],
        BinOp::ShlAssign(_) => &[">>="],
        BinOp::ShrAssign(_) => &["<<="],
        BinOp::BitAndAssign(_) => &["|=", "^="],
        BinOp::BitOrAssign(_) => &["&=", "^="],
        BinOp::BitXorAssign(_) => &["|=", "&="],
        _ => &[],
    }
}

/// Values a function of that type could return without doing anything.
fn values(kind: &Type) -> Vec<String> {
    let strings = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    match kind {
        Type::Never(_) | Type::ImplTrait(_) => Vec::new(),
        Type::Tuple(tuple) if tuple.elems.is_empty() => strings(&["()"]),
        Type::Tuple(tuple) => {
            let firsts: Option<Vec<String>> = tuple.elems.iter().map(|one| values(one).into_iter().next()).collect();
            firsts.map(|firsts| format!("({},)", firsts.join(", "))).into_iter().collect()
        }
        Type::Reference(reference) if reference.mutability.is_none() => match &*reference.elem {
            Type::Path(path) if path.path.is_ident("str") => strings(&["\"\"", "\"xyzzy\""]),
            Type::Slice(_) => strings(&["&[]"]),
            _ => Vec::new(),
        },
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else { return Vec::new() };
            let inner: Vec<&Type> = match &last.arguments {
                syn::PathArguments::AngleBracketed(all) => all
                    .args
                    .iter()
                    .filter_map(|one| if let syn::GenericArgument::Type(kind) = one { Some(kind) } else { None })
                    .collect(),
                _ => Vec::new(),
            };
            match (last.ident.to_string().as_str(), inner.first()) {
                ("bool", _) => strings(&["true", "false"]),
                ("u8" | "u16" | "u32" | "u64" | "usize" | "u128", _) => strings(&["0", "1"]),
                ("i8" | "i16" | "i32" | "i64" | "isize" | "i128", _) => strings(&["0", "1", "-1"]),
                ("String", _) => strings(&["String::new()", "\"xyzzy\".to_owned()"]),
                ("Option", Some(kind)) => {
                    let mut all = strings(&["None"]);
                    all.extend(values(kind).into_iter().map(|value| format!("Some({value})")));
                    all
                }
                ("Result", Some(kind)) => values(kind).into_iter().map(|value| format!("Ok({value})")).collect(),
                ("Vec", _) => strings(&["Vec::new()"]),
                _ => strings(&["Default::default()"]),
            }
        }
        _ => strings(&["Default::default()"]),
    }
}

fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl Finder<'_> {
    fn text(&self, range: Range<usize>) -> &str {
        &self.source[range]
    }

    fn place(&mut self, range: Range<usize>, form: Form, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let line = self.source[..range.start].matches('\n').count() + 1;
        self.places.push(Place { range, form, changes, function: self.names.join("::"), line });
    }

    fn function(&mut self, name: String, signature: &syn::Signature, body: &syn::Block) {
        self.names.push(name);
        if signature.constness.is_none() {
            let begin = range(&body.brace_token.span.open()).end;
            let whole = self.text(range(body)).trim_start_matches('{').trim_end_matches('}').trim().to_owned();
            let all = match &signature.output {
                ReturnType::Default => vec!["()".to_owned()],
                ReturnType::Type(_, kind) => values(kind),
            };
            let changes = all
                .into_iter()
                .filter(|value| *value != whole && !(value == "()" && body.stmts.is_empty()))
                .map(|value| Change { what: format!("body becomes `{value}`"), text: value })
                .collect();
            self.place(begin..begin, Form::Begin, changes);
            for stmt in &body.stmts {
                self.visit_stmt(stmt);
            }
        }
        self.names.pop();
    }

    fn negatable(&mut self, condition: &Expr) {
        if matches!(condition, Expr::MethodCall(_) | Expr::Call(_) | Expr::Path(_) | Expr::Field(_)) {
            let range = range(condition);
            let text = self.text(range.clone()).to_owned();
            let change = Change { what: format!("`{}` negated", short(&text)), text: format!("!({text})") };
            self.place(range, Form::Expression, vec![change]);
        }
    }
}

impl<'a> Visit<'a> for Finder<'_> {
    fn visit_item(&mut self, item: &'a syn::Item) {
        match item {
            syn::Item::Fn(one) if !is_test(&one.attrs) => {
                self.function(one.sig.ident.to_string(), &one.sig, &one.block)
            }
            syn::Item::Impl(one) if !is_test(&one.attrs) => {
                let name = match &*one.self_ty {
                    Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
                    _ => None,
                };
                let debug = one
                    .trait_
                    .as_ref()
                    .is_some_and(|(_, path, _)| path.segments.last().is_some_and(|last| last.ident == "Debug"));
                if !debug {
                    self.names.push(name.unwrap_or_else(|| "impl".to_owned()));
                    visit::visit_item_impl(self, one);
                    self.names.pop();
                }
            }
            syn::Item::Trait(one) if !is_test(&one.attrs) => {
                self.names.push(one.ident.to_string());
                visit::visit_item_trait(self, one);
                self.names.pop();
            }
            syn::Item::Mod(one) if !is_test(&one.attrs) => visit::visit_item_mod(self, one),
            // Constants, types and uses: nothing of them can be chosen when the program runs.
            _ => {}
        }
    }

    fn visit_impl_item_fn(&mut self, one: &'a syn::ImplItemFn) {
        if !is_test(&one.attrs) {
            self.function(one.sig.ident.to_string(), &one.sig, &one.block);
        }
    }

    fn visit_trait_item_fn(&mut self, one: &'a syn::TraitItemFn) {
        if let Some(body) = &one.default {
            self.function(one.sig.ident.to_string(), &one.sig, body);
        }
    }

    fn visit_type(&mut self, _: &'a Type) {}
    fn visit_pat(&mut self, _: &'a syn::Pat) {}
    fn visit_item_const(&mut self, _: &'a syn::ItemConst) {}
    fn visit_impl_item_const(&mut self, _: &'a syn::ImplItemConst) {}
    fn visit_generic_argument(&mut self, _: &'a syn::GenericArgument) {}

    fn visit_expr_repeat(&mut self, one: &'a syn::ExprRepeat) {
        self.visit_expr(&one.expr);
    }

    fn visit_expr_const(&mut self, _: &'a syn::ExprConst) {}

    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        let attributes = match stmt {
            Stmt::Local(local) => &local.attrs[..],
            _ => &[],
        };
        if is_test(attributes) {
            return;
        }
        if let Stmt::Expr(expr, Some(_)) = stmt {
            let effect = match expr {
                Expr::Try(one) => &*one.expr,
                other => other,
            };
            let deletable = match effect {
                Expr::MethodCall(_) | Expr::Call(_) | Expr::Assign(_) => true,
                Expr::Binary(one) => !others(&one.op).is_empty(),
                _ => false,
            };
            if deletable {
                let range = range(stmt);
                let what = format!("`{}` deleted", short(self.text(range.clone())));
                self.place(range, Form::Statement, vec![Change { text: String::new(), what }]);
            }
        }
        visit::visit_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Binary(one) if !has_let(expr) => {
                let (whole, left, right) = (range(expr), range(&*one.left), range(&*one.right));
                let (left, right) = (self.text(left).to_owned(), self.text(right).to_owned());
                let before = short(self.text(whole.clone()));
                let changes = others(&one.op)
                    .iter()
                    .map(|op| Change {
                        text: if op.ends_with('=') && !["==", "!=", "<=", ">="].contains(op) {
                            format!("{left} {op} ({right})")
                        } else {
                            format!("({left}) {op} ({right})")
                        },
                        what: format!("`{before}` with `{op}`"),
                    })
                    .collect();
                self.place(whole, Form::Expression, changes);
            }
            Expr::Unary(one) if matches!(one.op, UnOp::Not(_) | UnOp::Neg(_)) => {
                if !matches!(&*one.expr, Expr::Lit(_)) {
                    let (whole, inner) = (range(expr), self.text(range(&*one.expr)).to_owned());
                    let what = format!("`{}` without its sign", short(self.text(whole.clone())));
                    self.place(whole, Form::Expression, vec![Change { text: inner, what }]);
                }
            }
            Expr::If(one) => self.negatable(&one.cond),
            Expr::While(one) => self.negatable(&one.cond),
            Expr::Match(one) => {
                let catches_all =
                    one.arms.last().is_some_and(|last| matches!(last.pat, syn::Pat::Wild(_)) && last.guard.is_none());
                for arm in &one.arms {
                    let pattern = range(&arm.pat);
                    if catches_all && !matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none() {
                        let what = format!("arm `{}` deleted", short(self.text(pattern.clone())));
                        let end = pattern.end;
                        self.place(end..end, Form::Arm, vec![Change { text: String::new(), what }]);
                    }
                    if let Some((_, guard)) = &arm.guard
                        && !has_let(guard)
                    {
                        let whole = range(&**guard);
                        let text = short(self.text(whole.clone()));
                        let changes = ["true", "false"]
                            .iter()
                            .map(|value| Change {
                                text: (*value).to_owned(),
                                what: format!("guard `{text}` becomes `{value}`"),
                            })
                            .collect();
                        self.place(whole, Form::Expression, changes);
                    }
                }
            }
            Expr::Struct(one) => {
                for field in &one.fields {
                    let value = range(&field.expr);
                    let text = self.text(value.clone()).to_owned();
                    let constant = match &field.expr {
                        Expr::Lit(_) | Expr::Macro(_) | Expr::Closure(_) => true,
                        Expr::Path(_) => {
                            text.contains("::") || text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
                        }
                        Expr::Call(call) => call.args.is_empty() || matches!(&*call.func, Expr::Path(_)),
                        _ => false,
                    };
                    if constant {
                        continue;
                    }
                    let syn::Member::Named(name) = &field.member else { continue };
                    let what =
                        format!("field `{name}` of `{}` becomes its default", short(self.text(range(&one.path))));
                    let form = if field.colon_token.is_some() { Form::Expression } else { Form::Shorthand };
                    self.place(value, form, vec![Change { text: "Default::default()".to_owned(), what }]);
                }
            }
            _ => {}
        }
        visit::visit_expr(self, expr);
    }
}
