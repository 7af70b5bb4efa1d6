"""The table of checks; one line here, one function in a file beside, one row or more on the page."""

from benchmarks import block_model, ntf
from benchmarks.checks import (
    bicluster_data,
    communities,
    connectivity,
    encoder_runs,
    encoders,
    factorisation,
    kills,
    libraries,
    loading,
    memory,
    products,
    sampling,
    songbird,
    start_up,
    switching,
    switching_data,
    worms,
)
from benchmarks.record import Check

CHECKS_HERE = "benchmarks/checks"
SWEEPS = (
    "neurotools/numerics/affinity.py",
    "neurotools/numerics/lowrank.py",
    "neurotools/numerics/ntf.py",
    "neurotools/numerics/ordered.py",
    "neurotools/numerics/pairs.py",
    "neurotools/numerics/tensor.py",
    "neurotools/numerics/units.py",
)
FACTORISATION = (*SWEEPS, "neurotools/signals/affinity.py", "neurotools/models/ntf")
BLOCK_MODEL = (
    "neurotools/models/block_model.py",
    "neurotools/numerics/blockmodel.py",
    "neurotools/numerics/blocksearch.py",
    "neurotools/numerics/kernels/numba_blockmodel.py",
)
LIBRARIES = (
    "neurotools/arrays.py",
    *SWEEPS,
    "neurotools/numerics/cp.py",
    "neurotools/numerics/hmm.py",
    "benchmarks/array_functions.py",
)
CONNECTIVITY = (
    "neurotools/numerics/covariance.py",
    "neurotools/numerics/kernels/lapack.py",
    "neurotools/signals/connectivity.py",
    f"{CHECKS_HERE}/connectivity.py",
)
SWITCHING = (
    "neurotools/models/switching_glm.py",
    "neurotools/numerics/glm.py",
    "neurotools/numerics/hmm.py",
    "neurotools/numerics/kernels/numba_hmm.py",
    "neurotools/numerics/switching.py",
    "neurotools/numerics/switching_fit.py",
    "neurotools/numerics/switching_prior.py",
    "neurotools/signals/design.py",
    f"{CHECKS_HERE}/switching.py",
)
SWITCHING_DATA = (*SWITCHING, f"{CHECKS_HERE}/switching_data.py")
SAMPLING = (
    "neurotools/adapters/pymc.py",
    "neurotools/numerics/hmm.py",
    "neurotools/numerics/kernels/numba_hmm.py",
    f"{CHECKS_HERE}/sampling.py",
)
BICLUSTER_DATA = (
    "neurotools/models/bicluster",
    "neurotools/numerics/bicluster.py",
    "neurotools/numerics/kernels/numba_bilatents.py",
    "neurotools/numerics/kernels/numba_bisplits.py",
    "neurotools/numerics/kernels/numba_biunits.py",
    "neurotools/numerics/point_partition.py",
    "neurotools/evaluate/heldout_counts.py",
    f"{CHECKS_HERE}/bicluster_data.py",
)
WRITING = ("neurotools/provenance.py", "pipelines/outputs.py", "pipelines/job.py", "pipelines/steps.py")

ENCODERS = "neurotools/models/encoders"

CHECKS = {
    check.name: check
    for check in (
        # ---- correctness --------------------------------------------------------------------------------
        Check(
            name="implicit_products",
            title="Products of affinities that are never made equal those of the dense tensor",
            run=products.implicit_equals_dense,
            code=(*SWEEPS, f"{CHECKS_HERE}/products.py"),
        ),
        Check(
            name="masked_gradients",
            title="Missing units: least squares over observed entries alone",
            run=products.gradients,
            code=(*SWEEPS, f"{CHECKS_HERE}/products.py"),
        ),
        Check(
            name="hals_tensorly",
            title="Factorisation of dense tensors equals tensorly from the same start",
            run=factorisation.equals_tensorly,
            code=(
                "neurotools/numerics/cp.py",
                "neurotools/numerics/tensor.py",
                f"{CHECKS_HERE}/factorisation.py",
                "benchmarks/planted.py",
            ),
        ),
        Check(
            name="ntf_recovery",
            title="Factorisation finds planted motifs, also with units missing",
            run=factorisation.recovers_planted,
            code=(*FACTORISATION, f"{CHECKS_HERE}/factorisation.py", "benchmarks/planted.py"),
        ),
        Check(
            name="songbird_errors",
            title="Songbird: affinities and errors of the factorisation equal the reference",
            run=songbird.errors,
            code=(*FACTORISATION, f"{CHECKS_HERE}/songbird.py"),
        ),
        Check(
            name="planted_blocks",
            title="Block model finds planted communities of any pattern",
            run=communities.planted_blocks,
            code=(*BLOCK_MODEL, f"{CHECKS_HERE}/communities.py", "benchmarks/planted.py"),
        ),
        Check(
            name="no_blocks",
            title="Block model finds one community where there are none",
            run=communities.no_blocks,
            code=(*BLOCK_MODEL, f"{CHECKS_HERE}/communities.py", "benchmarks/planted.py"),
        ),
        Check(
            name="reference_graphs",
            title="Block model on stored graphs, beside stored results of Leiden's method",
            run=communities.reference_graphs,
            code=(*BLOCK_MODEL, f"{CHECKS_HERE}/communities.py"),
        ),
        Check(
            name="array_libraries",
            title="The same numbers from every array library that runs without a GPU",
            run=libraries.array_libraries,
            code=(*LIBRARIES, f"{CHECKS_HERE}/libraries.py"),
        ),
        Check(
            name="forward_backward",
            title="Hidden Markov chains equal a stored result of other software",
            run=libraries.forward_backward,
            code=(
                "neurotools/numerics/hmm.py",
                "neurotools/numerics/kernels/numba_hmm.py",
                f"{CHECKS_HERE}/libraries.py",
            ),
        ),
        Check(
            name="loaders",
            title="Recordings of all kinds load with the sizes that are known of them",
            run=loading.recordings,
            code=(
                "neurotools/loaders",
                "neurotools/schema",
                "neurotools/registry.py",
                "benchmarks/recordings.py",
                f"{CHECKS_HERE}/loading.py",
            ),
        ),
        Check(
            name="connectivity_nilearn",
            title="Connectivity equals nilearn, live and as recorded, confounds included",
            run=connectivity.equals_nilearn,
            code=(*CONNECTIVITY, "neurotools/signals/cleaning.py", "neurotools/signals/confounds.py"),
        ),
        Check(
            name="kills",
            title="Killed ten times at random moments, results are whole and the same call completes",
            run=kills.ten_kills,
            code=(*WRITING, f"{CHECKS_HERE}/kills.py"),
        ),
        Check(
            name="kills_fifty",
            title="Killed fifty times, the pipeline from the command line",
            run=kills.fifty_kills,
            code=(*WRITING, f"{CHECKS_HERE}/kills.py"),
            group="long",
            budget_s=1800.0,
        ),
        # ---- what the data says -------------------------------------------------------------------------
        Check(
            name="songbird_sequences",
            title="Songbird: units of the motifs peak in one order after each syllable",
            run=songbird.sequences,
            code=(
                *FACTORISATION,
                "neurotools/evaluate/nulls.py",
                "neurotools/numerics/sequences.py",
                f"{CHECKS_HERE}/songbird.py",
            ),
            kind="science",
        ),
        Check(
            name="worm_behaviour",
            title="Worms: motifs follow velocity and reversals",
            run=worms.behaviour,
            code=(
                *FACTORISATION,
                "neurotools/evaluate/nulls.py",
                "neurotools/loaders/calcium.py",
                f"{CHECKS_HERE}/worms.py",
            ),
            kind="science",
        ),
        # ---- speed and memory ---------------------------------------------------------------------------
        Check(
            name="start_up",
            title="Import and command line start quickly",
            run=start_up.start_up,
            code=(
                "neurotools/__init__.py",
                "neurotools/__init__.pyi",
                "pipelines/command_line.py",
                f"{CHECKS_HERE}/start_up.py",
            ),
            kind="speed",
        ),
        Check(
            name="ntf_speed",
            title="Sweeps of the factorisation beside tensorly, one thread",
            run=ntf.rows,
            code=(*SWEEPS, "neurotools/numerics/cp.py", "benchmarks/ntf.py", "benchmarks/sweeps.py"),
            kind="speed",
        ),
        Check(
            name="block_model_speed",
            title="Seconds per motif of the block model, one thread",
            run=block_model.rows,
            code=(
                *BLOCK_MODEL,
                "benchmarks/block_model.py",
                "benchmarks/planted.py",
                f"{CHECKS_HERE}/communities.py",
            ),
            kind="speed",
        ),
        Check(
            name="songbird_speed",
            title="The main job on the bundled recording, from end to end",
            run=songbird.end_to_end,
            code=(
                *FACTORISATION,
                *BLOCK_MODEL,
                "neurotools/evaluate/dynamic.py",
                f"{CHECKS_HERE}/songbird.py",
            ),
            kind="speed",
        ),
        Check(
            name="hidden_chain",
            title="Hidden Markov chain: posteriors, evidence and best path equal those of another program",
            run=switching.stored_chain,
            code=(
                "neurotools/numerics/hmm.py",
                "neurotools/numerics/kernels/numba_hmm.py",
                f"{CHECKS_HERE}/switching.py",
            ),
        ),
        Check(
            name="switching_couplings",
            title="Switching GLM: states and couplings of a circuit that is known",
            run=switching.known_couplings,
            code=SWITCHING,
            kind="science",
        ),
        Check(
            name="mouse_strategies",
            title="Choices of mice: three states foretell held-out sessions better than one or two",
            run=switching_data.mouse_choices,
            code=(*SWITCHING_DATA, "neurotools/evaluate/states.py"),
            kind="science",
            group="long",
            budget_s=300.0,
        ),
        Check(
            name="mouse_peer",
            title="Choices of mice: likelihood and optimum beside dynamax's logistic HMM",
            run=switching_data.mouse_peer,
            code=(*SWITCHING_DATA, "benchmarks/peers"),
            group="long",
            budget_s=600.0,
        ),
        Check(
            name="held_out_populations",
            title="Spikes held out in three recordings: do hidden states foretell them?",
            run=switching_data.populations,
            code=(*SWITCHING_DATA, "neurotools/evaluate/states.py"),
            kind="science",
            group="long",
            budget_s=1200.0,
        ),
        Check(
            name="one_state_oracle",
            title="Couplings of a population without states equal those of nemos",
            run=switching_data.one_state_oracle,
            code=(*SWITCHING_DATA, "benchmarks/peers", "neurotools/simulate/populations.py"),
            group="long",
        ),
        Check(
            name="chain_gradient",
            title="Hidden chains inside PyMC: gradient of 50,000 samples",
            run=sampling.chain_gradient,
            code=SAMPLING,
        ),
        Check(
            name="draws_equal_grid",
            title="Hidden chains inside PyMC: draws of NUTS have the posterior means of a grid",
            run=sampling.draws_equal_grid,
            code=SAMPLING,
            group="long",
            budget_s=300.0,
        ),
        Check(
            name="bicluster_allen_heldout",
            title="Bi-clustering foretells held-out counts of 63 neurons, with the right spread",
            run=bicluster_data.allen_heldout,
            code=BICLUSTER_DATA,
            kind="science",
            group="long",
            budget_s=3600.0,
        ),
        Check(
            name="bicluster_allen_chains",
            title="Two chains of a bi-clustering find the same neurons together",
            run=bicluster_data.allen_chains,
            code=BICLUSTER_DATA,
            kind="science",
            group="long",
            budget_s=1800.0,
        ),
        Check(
            name="bicluster_planted",
            title="Bi-clustering finds planted clusters and states, beside spectral clustering",
            run=bicluster_data.planted,
            code=(*BICLUSTER_DATA, "neurotools/simulate/biclusters.py"),
            kind="science",
            group="long",
            budget_s=3600.0,
        ),
        Check(
            name="bicluster_tectum",
            title="Bi-clusters of a zebrafish's tectum beside rivals and published assemblies",
            run=bicluster_data.tectum,
            code=BICLUSTER_DATA,
            kind="science",
            group="long",
            budget_s=1800.0,
        ),
        Check(
            name="bicluster_motor_cortex",
            title="Bi-clusters of motor cortex beside rivals",
            run=bicluster_data.motor_cortex,
            code=BICLUSTER_DATA,
            kind="science",
            group="long",
            budget_s=1800.0,
        ),
        Check(
            name="switching_speed",
            title="Time of forward-backward and of all weighted Gram matrices",
            run=switching.chain_speed,
            code=SWITCHING,
            kind="speed",
        ),
        Check(
            name="connectivity_speed",
            title="Connectivity beside nilearn, one thread",
            run=connectivity.speed,
            code=CONNECTIVITY,
            kind="speed",
        ),
        Check(
            name="connectivity_memory",
            title="Peak memory of many windows of connectivity beyond that of a few",
            run=connectivity.memory,
            code=CONNECTIVITY,
            kind="speed",
        ),
        Check(
            name="reader_memory",
            title="Readers that never hold a whole file: peak memory beyond the start",
            run=memory.readers,
            code=(
                "neurotools/loaders/eeg.py",
                "neurotools/loaders/fmri.py",
                "neurotools/loaders/mne_samples.py",
                "neurotools/loaders/nifti.py",
                f"{CHECKS_HERE}/memory.py",
            ),
            kind="speed",
        ),
        Check(
            name="encoder_forms",
            title="Neuro-GPT's objective in one pass equals the published form and is cheaper",
            run=encoders.one_pass,
            code=(f"{ENCODERS}/neurogpt.py", f"{CHECKS_HERE}/encoders.py"),
        ),
        Check(
            name="elm_neurons",
            title="Published ELM neurons equal their recorded outputs; the collapsed form is faster",
            run=encoders.neuron,
            code=(f"{ENCODERS}/elm.py", f"{ENCODERS}/checkpoint.py", f"{CHECKS_HERE}/encoders.py"),
        ),
        Check(
            name="encoder_codes",
            title="Du-IN on synthetic sEEG: codes in use, and hidden codes named from the rest",
            run=encoder_runs.hidden_codes,
            code=(
                f"{ENCODERS}/duin.py",
                f"{ENCODERS}/duin_recipe.py",
                f"{ENCODERS}/training.py",
                f"{CHECKS_HERE}/encoder_runs.py",
            ),
            kind="science",
            group="long",
            budget_s=600.0,
        ),
        Check(
            name="encoder_chunks",
            title="Neuro-GPT on held-out runs of Muse EEG: hidden chunks, beside simple predictions",
            run=encoder_runs.hidden_chunks,
            code=(
                f"{ENCODERS}/neurogpt.py",
                f"{ENCODERS}/neurogpt_recipe.py",
                f"{ENCODERS}/training.py",
                f"{CHECKS_HERE}/encoder_runs.py",
            ),
            kind="science",
            group="long",
            budget_s=900.0,
        ),
    )
}
