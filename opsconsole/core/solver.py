"""The one door to HiGHS: a small integer programme as arrays in, its best point out.

HiGHS answers what a loop of comparisons cannot: which few moves help most when GPUs, watts and minimums bind several models at once.
It runs on one thread, with a fixed seed and a limit counted in nodes of its search, never in seconds, so that the same fleet always
gives the same plan.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

NODES_LIMIT = 2000
"""Nodes of the branch-and-bound tree; the best point found by then is taken."""
GAP = 0.005
"""Relative distance from the proven optimum that is good enough."""
PRESOLVE = "off"
"""These programmes are wide and hold little that presolve removes: it takes several times what it saves (tests/bench/plan.py)."""


@dataclass
class Programme:
    """Minimise cost @ x with 0 <= x <= upper and, for each row, lower <= coefficients @ x <= upper bound; grown column by column."""

    costs: list[float] = field(default_factory=list)
    uppers: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    bounds: list[tuple[float, float]] = field(default_factory=list)
    entries: list[tuple[int, int, float]] = field(default_factory=list)
    """(row, column, coefficient)."""

    def column(self, cost: float, upper: float = np.inf, whole: bool = True) -> int:
        """Number of a new variable."""
        self.costs.append(cost)
        self.uppers.append(upper)
        self.whole.append(whole)
        return len(self.costs) - 1

    def row(self, lower: float = -np.inf, upper: float = np.inf) -> int:
        """Number of a new constraint."""
        self.bounds.append((lower, upper))
        return len(self.bounds) - 1

    def put(self, row: int, column: int, coefficient: float) -> None:
        if coefficient:
            self.entries.append((row, column, coefficient))

    def solve(self) -> np.ndarray | None:
        """The best point found, (columns,), whole numbers exactly whole; None when there is none."""
        if not self.costs:
            return np.zeros(0)
        import highspy  # here, because most commands plan nothing

        highs = highspy.Highs()
        highs.setOptionValue("output_flag", False)
        options = {"threads": 1, "random_seed": 0, "mip_rel_gap": GAP, "mip_max_nodes": NODES_LIMIT, "presolve": PRESOLVE}
        for option, value in options.items():
            highs.setOptionValue(option, value)
        highs.passModel(self._model(highspy))
        highs.run()
        if highs.getInfo().primal_solution_status != 2:  # kSolutionStatusFeasible
            return None
        point = np.array(highs.getSolution().col_value)
        return np.where(self.whole, np.round(point), point)

    def _model(self, highspy):
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = len(self.costs), len(self.bounds)
        model.col_cost_, model.col_lower_, model.col_upper_ = np.array(self.costs), np.zeros(len(self.costs)), np.array(self.uppers)
        model.row_lower_, model.row_upper_ = np.array([low for low, _ in self.bounds]), np.array([high for _, high in self.bounds])
        entries = np.array(sorted(self.entries, key=lambda entry: (entry[1], entry[0]))).reshape(-1, 3)
        starts = np.searchsorted(entries[:, 1], np.arange(len(self.costs) + 1))
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        model.a_matrix_.start_ = starts.astype(np.int32)
        model.a_matrix_.index_ = entries[:, 0].astype(np.int32)
        model.a_matrix_.value_ = entries[:, 2].astype(np.float64)
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        model.integrality_ = [kinds[whole] for whole in self.whole]
        return model
