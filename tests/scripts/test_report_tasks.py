"""scripts/report.py: the layouts of the paper's tables, task by task."""


def lines_of(text, start):
    return [line for line in text.splitlines() if line.startswith(start)]


def test_table_1_has_dataset_groups_and_the_papers_order_of_rows(write_run, report):
    for dataset in ("eurosat", "caltech101"):
        for trainer in ("CoOp_SHIP", "KgCoOp", "CoOp", "ZeroshotCLIP", "MyProbe_SHIP"):
            write_run({"base": 80.0, "new": 50.0}, dataset=dataset, trainer=trainer)
    out = report("--layout", "paper").out
    heading = out.splitlines()[2]
    assert heading.split() == ["Average", "Caltech101", "EuroSAT"]
    methods = [line.split("  ")[0] for line in out.splitlines()[5:10]]
    assert methods == ["Zero-shot", "CoOp", "KgCoOp", "CoOp + SHIP", "MyProbe + SHIP"]


def test_table_1_breaks_into_blocks_unless_wide(write_run, report):
    for dataset in ("caltech101", "eurosat", "dtd", "ucf101"):
        write_run({"base": 80.0, "new": 50.0}, dataset=dataset)
    assert report("--layout", "paper").out.count("(continued)") == 1
    wide = report("--layout", "paper", "--wide").out
    assert "(continued)" not in wide
    assert wide.splitlines()[2].split() == ["Average", "Caltech101", "DTD", "EuroSAT", "UCF101"]


def test_a_dataset_that_a_method_was_not_run_on_is_blank(write_run, report):
    write_run({"base": 80.0, "new": 50.0}, dataset="caltech101")
    write_run({"base": 70.0, "new": 50.0}, dataset="eurosat", trainer="KgCoOp")
    out = report("--layout", "paper", "--format", "markdown").out
    assert "| 80.00 | 50.00 | 61.54 |  |  |  |" in out


def test_fewshot_has_a_column_for_each_number_of_shots(write_run, report):
    for shots in (1, 16):
        for seed in (1, 2):
            write_run({"accuracy": 50.0 + shots + seed}, task="fewshot", shots=shots, seed=seed)
    write_run({"accuracy": 40.0}, task="fewshot", shots=16, trainer="ZeroshotCLIP")
    out = report().out
    (line,) = lines_of(out, "caltech101  CoOp")
    assert line.split("  ")[-2:] == ["52.50 ± 0.50", "67.50 ± 0.50"]
    assert any(line.split() == ["dataset", "method", "config", "seeds", "1", "16"] for line in out.splitlines())


def test_cross_dataset_has_the_difference_row_and_the_average(write_run, report):
    for dataset, gain in (("caltech101", 1.0), ("eurosat", 3.0)):
        for trainer, value in (("CoOp", 60.0), ("CoOp_SHIP", 60.0 + gain)):
            write_run({"accuracy": value}, task="cross_dataset", dataset=dataset, trainer=trainer, source="imagenet")
    out = report("--layout", "paper").out
    assert "trained on ImageNet, 16 shots" in out
    assert lines_of(out, "Δ to CoOp")[0].split()[-3:] == ["+1.00", "+3.00", "+2.00"]
    assert "93.70" not in out


def test_cross_dataset_beside_the_paper(write_run, report):
    write_run({"accuracy": 90.0}, task="cross_dataset", source="imagenet", backbone="ViT-B/16")
    assert lines_of(report().out, "  in the paper")[0].split()[-1] == "93.70"


def test_sources_are_kept_apart(write_run, report):
    for source, value in (("imagenet", 90.0), ("caltech101", 80.0)):
        write_run({"accuracy": value}, task="cross_dataset", dataset="eurosat", config=f"from_{source}", source=source)
    out = report().out
    assert out.count("Cross-dataset transfer, trained on") == 2


def test_zero_shot_has_no_source_and_stands_in_the_table_of_each_on_its_targets(write_run, report):
    for dataset in ("caltech101", "eurosat", "dtd"):
        write_run({"accuracy": 50.0}, task="cross_dataset", dataset=dataset, trainer="ZeroshotCLIP")
    for source, dataset in (("caltech101", "eurosat"), ("caltech101", "dtd"), ("eurosat", "caltech101")):
        config = f"miniclip-from_{source}"
        write_run({"accuracy": 60.0}, task="cross_dataset", dataset=dataset, config=config, source=source)
    out = report("--layout", "paper").out
    assert out.count("Cross-dataset transfer, trained on") == 2
    assert [line.split() for line in lines_of(out, "method")] == [
        ["method", "seeds", "DTD", "EuroSAT", "Average"],
        ["method", "seeds", "Caltech101"],
    ]
    assert [line.split()[2:] for line in lines_of(out, "Zero-shot")] == [["50.00", "50.00", "50.00"], ["50.00"]]


def test_gzsl_has_h_of_unseen_and_seen(write_run, report):
    for seed, unseen, seen in ((1, 50, 90), (2, 60, 80)):
        write_run({"unseen": unseen, "seen": seen}, task="gzsl", dataset="flo", seed=seed, shots=0)
    out = report("--layout", "paper").out
    assert "Generalized zero-shot learning, all shots, MiniCLIP" in out and "FLO" in out
    assert lines_of(out, "CoOp")[0].split("  ")[-3:] == ["55.00 ± 5.00", "85.00 ± 5.00", "66.79 ± 2.14"]


def test_an_unknown_task_is_listed_with_its_metrics(write_run, report):
    write_run({"top5": 91.0}, task="my_task")
    out = report().out
    assert "top5" in out and "91.00" in out


def test_tasks_have_a_table_each(write_run, report):
    write_run({"base": 80.0, "new": 50.0})
    write_run({"accuracy": 70.0}, task="fewshot")
    out = report().out
    assert out.index("Base-to-new generalization") < out.index("Few-shot classification")
