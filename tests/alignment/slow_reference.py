"""5CAT written out slowly in float64, one window at a time, straight from SPEC §2 and §3. Shares no code with segue."""

import numpy as np


def unit(x):
    return np.asarray(x, dtype=np.float64) / np.linalg.norm(x)


def averaged_rank(similarities, true_similarity):
    above = sum(s > true_similarity for s in similarities)
    level = sum(s == true_similarity for s in similarities)
    return above + (level + 1) / 2


def windows_by_hand(store, context, horizon):
    """(document, place of offset 0 in it) of every window, and whether an offset exists, from the tables alone."""
    found = []
    for document in range(store.n_documents):
        first, length = int(store.first_row_G[document]), int(store.length_G[document])
        positions = store.position_N[first : first + length]
        for t in range(length):
            if t - context + 1 >= 0 and t + horizon < length:
                span = positions[t - context + 1 : t + horizon + 1]
                if (np.diff(span) == 1).all():
                    found.append((document, t))
    return found


def measure_slowly(store, predict, context, horizon, orders, others, steps=5):
    """Per window a dict of every quantity; `orders` and `others` are the harness's own random draws."""
    table = []
    for w, (document, t) in enumerate(windows_by_hand(store, context, horizon)):
        first, length = int(store.first_row_G[document]), int(store.length_G[document])
        x = np.array([unit(v) for v in store.vectors_ND[first : first + length]])
        positions = store.position_N[first : first + length]

        def has(k, t=t, positions=positions, length=length):
            return 0 <= t + k < length and positions[t + k] - positions[t] == k and (
                np.diff(positions[min(t, t + k) : max(t, t + k) + 1]) == 1
            ).all()  # fmt: skip

        slots = [x[t - context + 1 + i] for i in range(context)]
        y = x[t + horizon]
        p = unit(predict(slots))
        s = {k: float(p @ x[t + k]) for k in range(-context - horizon + 1, 4) if has(k)}
        row = {"s": s, "cos": s[horizon] if horizon in s else float(p @ y)}
        row["win_last"] = float(s[horizon] > s[0])
        before = 1 - context - horizon
        row["direction"] = float(s[horizon] > s[before]) if before in s else np.nan
        own = max(float(y @ slot) for slot in slots)
        row["par"] = max(float(p @ slot) for slot in slots) / own if own > 0 else np.nan
        row["mse"] = float(np.mean((np.asarray(predict(slots)) - y) ** 2))
        row["coherence"] = np.mean([slots[i] @ slots[i + 1] for i in range(context - 1)])
        document_similarities = x @ p
        window = range(t - context + 1, t + 1)
        pools = {
            "future": [n for n in range(length) if n > t],
            "unseen": [n for n in range(length) if n not in window],
            "document": list(range(length)),
        }
        for pool, members in pools.items():
            row[pool] = averaged_rank(document_similarities[members], document_similarities[t + horizon])
            row[f"{pool} candidates"] = len(members)
        everyone = np.array([unit(v) for v in store.vectors_ND]) @ p
        row["corpus"] = averaged_rank(everyone, everyone[first + t + horizon])
        row["corpus candidates"] = len(everyone)

        ablations = {
            "shuffle": [[slots[i] for i in orders[w]]],
            "reverse": [slots[::-1]],
            "repeat_last": [[slots[-1]] * context],
            "other_document": [[*slots[:-1], unit(store.vectors_ND[others[w]])]],
            "leave_one_out": [
                [slots[i] for i in range(context) if i != dropped] + [slots[-1]] for dropped in range(context)
            ],
        }
        for name, changed in ablations.items():
            row[name] = np.mean([unit(predict(c)) @ y for c in changed]) - p @ y
            ranks = []
            for context_slots in changed:
                similarities = x @ unit(predict(context_slots))
                ranks.append(averaged_rank(similarities[pools["future"]], similarities[t + horizon]))
            row[f"{name} mrr"] = np.mean(1 / np.array(ranks)) - 1 / row["future"]

        offsets = [j if horizon == 1 else j * horizon for j in range(1, steps + 1)]
        row["steps"], row["mrr_steps"] = [np.nan] * steps, [np.nan] * steps
        if has(offsets[-1]):
            moving = list(slots)
            for j, offset in enumerate(offsets):
                predicted = unit(predict(moving))
                row["steps"][j] = float(predicted @ x[t + offset])
                row["mrr_steps"][j] = 1 / averaged_rank((x @ predicted)[pools["future"]], (x @ predicted)[t + offset])
                moving = [*moving[1:], predicted]
        table.append(row)
    return table


def contrastive_slowly(store, predict, windows, batch_rows):
    """Per window the two contrastive accuracies; `batch_rows[w]` are the harness's own rows of its batch."""
    found = []
    for (document, t), rows in zip(windows["all"], batch_rows, strict=True):
        first = int(store.first_row_G[document])
        x = {row: unit(store.vectors_ND[row]) for row in rows}
        truth = first + t + windows["horizon"]
        p = unit(predict([unit(store.vectors_ND[first + t - i]) for i in reversed(range(windows["context"]))]))
        distance = {row: float(np.linalg.norm(p - vector)) for row, vector in x.items()}
        other = {row for row in rows if store.document_N[row] != document}
        far = other | {row for row in rows if abs(row - truth) > 1}
        shares = [
            np.mean([distance[row] > distance[truth] for row in some]) if some else np.nan for some in (far, other)
        ]
        found.append(shares)
    return np.array(found)


def order_slowly(predict, slots, span, shuffle):
    """Kendall's tau and whether the order is perfect, of a span presented in the order `shuffle`."""
    moving, left, taken = list(slots), list(shuffle), []
    while left:
        p = unit(predict(moving))
        best = max(left, key=lambda place: float(p @ span[place]))
        taken.append(best)
        left.remove(best)
        moving = [*moving[1:], span[best]]
    pairs = [(i, j) for i in range(len(taken)) for j in range(i + 1, len(taken))]
    tau = sum(1 if taken[i] < taken[j] else -1 for i, j in pairs) / len(pairs)
    return tau, taken == sorted(taken)


def snapped_slowly(store, corpus_rows, predict, document, t, context, horizon, steps=5):
    """cos and 1/rank (pool `future`) of every step, each prediction replaced by the nearest chunk not yet read."""
    first, length = int(store.first_row_G[document]), int(store.length_G[document])
    read = [first + t - i for i in reversed(range(context))]
    moving = [unit(store.vectors_ND[row]) for row in read]
    future = [unit(store.vectors_ND[row]) for row in range(first + t + 1, first + length)]
    cos, mrr = [], []
    for j in range(1, steps + 1):
        offset = j if horizon == 1 else j * horizon
        p = unit(predict(moving))
        similarities = [float(p @ x) for x in future]
        cos.append(similarities[offset - 1])
        mrr.append(1 / averaged_rank(similarities, similarities[offset - 1]))
        nearest = max(
            (row for row in corpus_rows if row not in read), key=lambda r: float(p @ unit(store.vectors_ND[r]))
        )
        read.append(nearest)
        moving = [*moving[1:], unit(store.vectors_ND[nearest])]
    return cos, mrr
