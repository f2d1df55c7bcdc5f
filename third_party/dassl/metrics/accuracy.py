"""Top-k accuracy of a batch."""


def compute_accuracy(output, target, topk=(1,)):
    """Percentages of rows whose label is among the k highest scores: one tensor [1] for each k of `topk`.

    output: scores [B, C], or a tuple or list that starts with them; target: labels [B].
    """
    if isinstance(output, (tuple, list)):
        output = output[0]
    ranked = output.topk(max(topk), dim=1).indices  # [B, max k]
    hit = ranked.eq(target.view(-1, 1)).float()
    return [hit[:, :k].sum().mul(100.0 / target.size(0)).view(1) for k in topk]
