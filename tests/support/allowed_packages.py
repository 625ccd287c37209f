"""A contract of import-linter: modules import no other packages than the allowed ones.

Unlike a list of forbidden packages, a list of allowed packages also covers packages that are added later.
"""

import sys
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from importlinter.application import contract_utils
from importlinter.domain.helpers import module_expressions_to_modules


class AllowedPackages(Contract):
    """Every direct import of a package from outside this project is allowed by name.

    The standard library and the packages of this project are always allowed.

    Options in pyproject.toml:
        source_modules: modules whose imports are checked, with everything below them.
        allowed_packages: names of top-level packages.
        ignore_imports: further imports that are allowed. They need not exist.
    """

    source_modules = fields.ListField(subfield=fields.ModuleExpressionField())
    allowed_packages = fields.ListField(subfield=fields.StringField())
    ignore_imports = fields.SetField(subfield=fields.ImportExpressionField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002 - the signature of import-linter
        """Collect the imports that are not allowed."""
        contract_utils.remove_ignored_imports(
            graph,
            self.ignore_imports,  # type: ignore[arg-type]
            contract_utils.AlertLevel.NONE,
        )
        own = set(self.session_options["root_packages"])
        allowed = own | set(sys.stdlib_module_names) | set(self.allowed_packages)  # type: ignore[call-overload]
        sources = module_expressions_to_modules(graph, self.source_modules, as_packages=True)  # type: ignore[arg-type]
        found = sorted(
            (source.name, imported)
            for source in sources
            for imported in graph.find_modules_directly_imported_by(source.name)
            if imported.partition(".")[0] not in allowed
        )
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print the imports that are not allowed."""
        found: list[Any] = check.metadata["found"]
        for source, imported in found:
            output.print_error(f"{source} is not allowed to import {imported}")
