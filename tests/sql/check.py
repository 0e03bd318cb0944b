"""Holds all SQL that Jeton sends to PostgreSQL against what other engines with its protocol say they have.

check.py STATEMENTS LOG: the statements, as `src/store/sent.rs` writes them, and the log of a server on which
`jeton db migrate` ran with `log_statement=all`. Each statement is parsed by PostgreSQL's own parser. What it consists
of must stand in engines.toml, and what an engine lacks must be named there as a gap, and in docs/databases.md.
With JETON_UPDATE_DOCS the tables of that page are written.
"""

import json
import os
import re
import sys
import tomllib
from pathlib import Path

import pglast
from pglast import ast, enums, visitors

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ENGINES = ("CockroachDB", "YugabyteDB", "Aurora DSQL")
PAGE = ROOT / "docs" / "databases.md"
# Nodes that are part of what contains them, and say nothing of their own.
PARTS = {
    "A_Const", "A_ArrayExpr", "Alias", "CaseWhen", "ColumnDef", "ColumnRef", "Float", "IndexElem", "InferClause", "Integer",
    "RangeVar", "RawStmt", "ResTarget", "ReturningClause", "SortBy", "String", "TypeName", "A_Star", "BitString", "Boolean",
}
OPERATORS = {"+", "-", "/", "||", "=", "<>", "<", "<=", ">", ">="}
DEFINITIONS = (ast.CreateStmt, ast.AlterTableStmt, ast.IndexStmt, ast.DropStmt)
CHANGES = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt)


class Unknown(Exception):
    """Something that this program has no name for."""


class Features(visitors.Visitor):
    """Collects what a statement consists of."""

    def __init__(self):
        self.found = set()
        self.in_new_column = False

    def visit(self, _, node):
        name = type(node).__name__
        if name in PARTS:
            if isinstance(node, ast.RangeVar) and node.relname.startswith("pg_"):
                self.found.add(f"catalogue {node.relname}")
            if isinstance(node, ast.TypeName):
                self.found.add(f"type {node.names[-1].sval}")
            return
        read = getattr(self, f"read_{name}", None)
        if read is None:
            raise Unknown(name)
        self.found.update(read(node))

    def read_SelectStmt(self, node):
        if node.valuesLists:
            yield "VALUES"
        elif node.op == enums.SetOperation.SETOP_NONE:
            yield "SELECT"
        elif node.op == enums.SetOperation.SETOP_UNION and node.all:
            yield "UNION ALL"
        else:
            raise Unknown(str(node.op))
        for clause in ("groupClause", "havingClause", "windowClause", "withClause", "distinctClause"):
            if getattr(node, clause):
                raise Unknown(clause)
        if node.sortClause:
            yield "ORDER BY"
        if node.limitCount:
            yield "LIMIT"
        if node.limitOffset:
            yield "OFFSET"

    def read_LockingClause(self, node):
        strengths = {enums.LockClauseStrength.LCS_FORUPDATE: "FOR UPDATE", enums.LockClauseStrength.LCS_FORSHARE: "FOR SHARE"}
        waits = {enums.LockWaitPolicy.LockWaitBlock: "", enums.LockWaitPolicy.LockWaitSkip: " SKIP LOCKED"}
        yield strengths[node.strength] + waits[node.waitPolicy]

    def read_JoinExpr(self, node):
        yield {enums.JoinType.JOIN_INNER: "join INNER", enums.JoinType.JOIN_LEFT: "join LEFT"}[node.jointype]

    def read_RangeSubselect(self, _):
        yield "subquery in FROM"

    def read_RangeFunction(self, _):
        yield "function in FROM"

    def read_SubLink(self, node):
        kinds = {
            enums.SubLinkType.EXISTS_SUBLINK: "subquery EXISTS",
            enums.SubLinkType.ANY_SUBLINK: "subquery IN",
            enums.SubLinkType.EXPR_SUBLINK: "subquery as a value",
        }
        yield kinds[node.subLinkType]

    def read_InsertStmt(self, node):
        yield "INSERT" if node.selectStmt.valuesLists else "INSERT … SELECT"
        if node.returningClause:
            yield "RETURNING"

    def read_OnConflictClause(self, node):
        nothing = node.action == enums.OnConflictAction.ONCONFLICT_NOTHING
        yield "ON CONFLICT DO NOTHING" if nothing else "ON CONFLICT DO UPDATE"

    def read_UpdateStmt(self, node):
        yield "UPDATE … FROM" if node.fromClause else "UPDATE"
        if node.returningClause:
            yield "RETURNING"

    def read_DeleteStmt(self, node):
        if node.usingClause:
            raise Unknown("USING")
        yield "DELETE"
        if node.returningClause:
            yield "RETURNING"

    def read_ParamRef(self, _):
        yield "parameters"

    def read_CaseExpr(self, _):
        yield "CASE"

    def read_CoalesceExpr(self, _):
        yield "COALESCE"

    def read_TypeCast(self, _):
        yield "CAST"

    def read_NullTest(self, _):
        yield "IS NULL"

    def read_BoolExpr(self, _):
        yield "AND, OR, NOT"

    def read_A_Expr(self, node):
        kinds = enums.A_Expr_Kind
        operator = node.name[-1].sval
        if node.kind == kinds.AEXPR_OP and operator in OPERATORS:
            yield "operators + - / || = <> < <= > >="
        elif node.kind == kinds.AEXPR_IN:
            yield "IN a list"
        elif node.kind == kinds.AEXPR_OP_ANY and operator == "=":
            yield "= ANY of an array"
        elif node.kind in (kinds.AEXPR_DISTINCT, kinds.AEXPR_NOT_DISTINCT):
            yield "IS NOT DISTINCT FROM"
        elif node.kind == kinds.AEXPR_LIKE:
            yield "LIKE … ESCAPE"
        else:
            raise Unknown(f"{node.kind} {operator}")

    def read_FuncCall(self, node):
        name = node.funcname[-1].sval
        # How the parser writes ESCAPE.
        if name != "like_escape":
            yield f"function {name}"

    def read_CreateStmt(self, node):
        if not node.if_not_exists:
            raise Unknown("CREATE TABLE without IF NOT EXISTS")
        yield "CREATE TABLE IF NOT EXISTS"

    def read_Constraint(self, node):
        names = {
            enums.ConstrType.CONSTR_NOTNULL: "constraint NOT NULL",
            enums.ConstrType.CONSTR_PRIMARY: "constraint PRIMARY KEY",
            enums.ConstrType.CONSTR_UNIQUE: "constraint UNIQUE",
            enums.ConstrType.CONSTR_FOREIGN: "constraint FOREIGN KEY",
            enums.ConstrType.CONSTR_DEFAULT: "ADD COLUMN … NOT NULL DEFAULT",
        }
        yield names[node.contype]

    def read_AlterTableStmt(self, node):
        if len(node.cmds) != 1:
            raise Unknown("several changes of a table at once")
        return ()

    def read_AlterTableCmd(self, node):
        if node.subtype == enums.AlterTableType.AT_AddColumn and node.missing_ok:
            yield "ADD COLUMN IF NOT EXISTS"
        elif node.subtype == enums.AlterTableType.AT_DropColumn and node.missing_ok:
            yield "DROP COLUMN IF EXISTS"
        else:
            raise Unknown(str(node.subtype))

    def read_IndexStmt(self, node):
        if not (node.concurrent and node.if_not_exists) or node.whereClause:
            raise Unknown("another form of CREATE INDEX")
        yield "CREATE INDEX CONCURRENTLY IF NOT EXISTS"

    def read_DropStmt(self, node):
        if node.removeType != enums.ObjectType.OBJECT_INDEX or not node.missing_ok:
            raise Unknown(f"DROP of {node.removeType}")
        yield "DROP INDEX CONCURRENTLY IF EXISTS" if node.concurrent else "DROP INDEX IF EXISTS"

    def read_TransactionStmt(self, node):
        kinds = enums.TransactionStmtKind
        names = {kinds.TRANS_STMT_BEGIN: "BEGIN", kinds.TRANS_STMT_COMMIT: "COMMIT", kinds.TRANS_STMT_ROLLBACK: "ROLLBACK"}
        yield names[node.kind]

    def read_RowExpr(self, _):
        yield "comparison of rows"

    def read_CopyStmt(self, node):
        if not node.is_from or node.filename or node.query or node.whereClause:
            raise Unknown("another form of COPY")
        (option,) = node.options
        yield f"COPY … FROM STDIN ({option.defname.upper()} {option.arg.sval})"

    def read_DefElem(self, _):
        """An option of COPY, which `read_CopyStmt` has looked at."""
        return ()

    def read_LockStmt(self, _):
        yield "LOCK TABLE"

    def read_VariableSetStmt(self, node):
        yield f"SET {'LOCAL ' if node.is_local else ''}{node.name}"


def features_of(text):
    """What a text consists of."""
    features = Features()
    features(pglast.parse_sql(text))
    return features.found


def judge_statements(statements, listed):
    """The problems of all statements, and the files in which each feature is used."""
    problems, used = [], {}
    for statement in statements:
        place = statement["file"] + (f", step {statement['step']}" if "step" in statement else "")
        try:
            found = features_of(statement["text"])
        except Unknown as unknown:
            problems.append(f"{place}: {unknown} has no name in check.py")
            continue
        except pglast.parser.ParseError as error:
            problems.append(f"{place}: PostgreSQL does not parse it: {error}")
            continue
        for feature in found:
            used.setdefault(feature, set()).add(place)
            if feature not in listed["features"]:
                problems.append(f"{place}: nobody has looked up who has: {feature}")
    return problems, used


def judge_lists(listed, used):
    """What is wrong with the lists themselves."""
    for feature, answers in listed["features"].items():
        if feature not in used:
            yield f"engines.toml: no statement uses: {feature}"
        for engine, answer in zip(ENGINES, answers, strict=True):
            name = f"{engine}: {feature}"
            is_gap = answer.startswith(("lacks: ", "unsaid: "))
            if not is_gap and answer not in listed["pages"]:
                yield f"engines.toml: {name} names the page {answer}, which is none of [pages]"
            if is_gap != (name in listed["gaps"]):
                yield f"engines.toml: {name} is {'no' if is_gap else 'a'} gap in [gaps]"
    names = {f"{engine}: {feature}" for engine in ENGINES for feature in listed["features"]}
    yield from (f"engines.toml: unknown gap {name}" for name in listed["gaps"].keys() - names)


def transactions(log):
    """The statements of each transaction of each session, from the log of a server."""
    open_ones = {}
    for line in re.findall(r"^(\d+) LOG:  (?:statement|execute [^:]*): (.*)$", log, re.MULTILINE):
        session, text = line
        for raw in pglast.parse_sql(text):
            statement = raw.stmt
            kind = statement.kind if isinstance(statement, ast.TransactionStmt) else None
            if kind == enums.TransactionStmtKind.TRANS_STMT_BEGIN:
                open_ones[session] = []
            elif kind is not None:
                yield open_ones.pop(session, [])
            elif session in open_ones:
                open_ones[session].append(statement)
            else:
                yield [statement]


def judge_transactions(log):
    """CockroachDB and Aurora DSQL: a transaction has one definition, and no data beside it."""
    definitions = 0
    for statements in transactions(log):
        defined = sum(isinstance(one, DEFINITIONS) for one in statements)
        definitions += defined
        if defined > 1 or (defined and any(isinstance(one, CHANGES) for one in statements)):
            yield f"one transaction: {[type(one).__name__ for one in statements]}"
    if definitions < 20:
        yield f"the log has only {definitions} definitions: is it that of a migration?"


def tables(listed):
    """The tables of the page: what each engine lacks or does not say."""
    for engine in ENGINES:
        rows = ["| | what its pages say | what needs it |", "|---|---|---|"]
        for feature, answers in listed["features"].items():
            answer = answers[ENGINES.index(engine)]
            cost = listed["gaps"].get(f"{engine}: {feature}")
            if cost:
                says = re.sub(r"\((\w[\w-]*)\)", lambda key: f"([page]({listed['pages'][key[1]]}))", answer)
                kind, _, text = says.partition(": ")
                word = {"lacks": "It lacks it", "unsaid": "Not found"}[kind]
                rows.append(f"| `{feature}` | {word}: {text} | {cost} |")
        yield engine, "\n".join(rows)


def judge_page(listed):
    """Whether the page is up to date; writes it if that is asked for."""
    page = PAGE.read_text()
    written = page
    for engine, table in tables(listed):
        name = engine.lower().replace(" ", "-")
        pattern = rf"(<!-- {name} -->\n\n).*?(\n\n<!-- end of {name} -->)"
        written = re.sub(pattern, lambda found, table=table: found[1] + table + found[2], written, flags=re.DOTALL)
    if written == page:
        return
    if os.environ.get("JETON_UPDATE_DOCS"):
        PAGE.write_text(written)
    else:
        yield "docs/databases.md is out of date: JETON_UPDATE_DOCS=1 tests/sql/run"


def main():
    listed = tomllib.loads((HERE / "engines.toml").read_text())
    statements = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    for_all = [one for one in statements if one["file"] not in listed["sqlite_only"]]
    problems, used = judge_statements(for_all, listed)
    problems += judge_lists(listed, used)
    problems += judge_transactions(Path(sys.argv[2]).read_text())
    problems += judge_page(listed)
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(1)
    print(f"{len(for_all)} statements parsed, of {len(used)} features; {len(listed['gaps'])} gaps are in docs/databases.md")


if __name__ == "__main__":
    main()
