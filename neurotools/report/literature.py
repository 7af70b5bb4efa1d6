"""The works that a report cites."""

from __future__ import annotations

# Key -> (how it is cited in the text, the reference, its DOI).
LITERATURE = {
    "dyballa": (
        "Dyballa et al., 2024",
        "Dyballa L, Lang S, Haslund-Gourley A, Yemini E, Zucker SW (2024). Learning dynamic representations "
        "of the functional connectome in neurobiological networks. International Conference on Learning "
        "Representations (ICLR).",
        "10.48550/arXiv.2402.14102",
    ),
    "shine": (
        "Shine et al., 2015",
        "Shine JM, Koyejo O, Bell PT, Gorgolewski KJ, Gilat M, Poldrack RA (2015). Estimation of dynamic "
        "functional connectivity using Multiplication of Temporal Derivatives. NeuroImage 122, 399-407.",
        "10.1016/j.neuroimage.2015.07.064",
    ),
    "faskowitz": (
        "Faskowitz et al., 2020",
        "Faskowitz J, Esfahlani FZ, Jo Y, Sporns O, Betzel RF (2020). Edge-centric functional network "
        "representations of human cerebral cortex reveal overlapping system-level architecture. Nature "
        "Neuroscience 23, 1644-1654.",
        "10.1038/s41593-020-00719-y",
    ),
    "westfall": (
        "Westfall and Young, 1993",
        "Westfall PH, Young SS (1993). Resampling-based multiple testing: examples and methods for p-value "
        "adjustment. Wiley, New York.",
        "",
    ),
    "kuensch": (
        "Kuensch, 1989",
        "Kuensch HR (1989). The jackknife and the bootstrap for general stationary observations. Annals of "
        "Statistics 17(3), 1217-1241.",
        "10.1214/aos/1176347265",
    ),
    "kolda": (
        "Kolda and Bader, 2009",
        "Kolda TG, Bader BW (2009). Tensor decompositions and applications. SIAM Review 51(3), 455-500.",
        "10.1137/07070111X",
    ),
    "cichocki": (
        "Cichocki and Phan, 2009",
        "Cichocki A, Phan AH (2009). Fast local algorithms for large scale nonnegative matrix and tensor "
        "factorizations. IEICE Transactions on Fundamentals E92-A(3), 708-721.",
        "10.1587/transfun.E92.A.708",
    ),
    "chi": (
        "Chi and Kolda, 2012",
        "Chi EC, Kolda TG (2012). On tensors, sparsity, and nonnegative factorizations. SIAM Journal on "
        "Matrix Analysis and Applications 33(4), 1272-1299.",
        "10.1137/110859063",
    ),
    "lee": (
        "Lee and Seung, 1999",
        "Lee DD, Seung HS (1999). Learning the parts of objects by non-negative matrix factorization. "
        "Nature 401, 788-791.",
        "10.1038/44565",
    ),
    "donoho": (
        "Donoho and Stodden, 2003",
        "Donoho D, Stodden V (2003). When does non-negative matrix factorization give a correct "
        "decomposition into parts? Advances in Neural Information Processing Systems 16.",
        "",
    ),
    "otsu": (
        "Otsu, 1979",
        "Otsu N (1979). A threshold selection method from gray-level histograms. IEEE Transactions on "
        "Systems, Man, and Cybernetics 9(1), 62-66.",
        "10.1109/TSMC.1979.4310076",
    ),
    "holland": (
        "Holland et al., 1983",
        "Holland PW, Laskey KB, Leinhardt S (1983). Stochastic blockmodels: first steps. Social Networks "
        "5(2), 109-137.",
        "10.1016/0378-8733(83)90021-7",
    ),
    "karrer": (
        "Karrer and Newman, 2011",
        "Karrer B, Newman MEJ (2011). Stochastic blockmodels and community structure in networks. Physical "
        "Review E 83, 016107.",
        "10.1103/PhysRevE.83.016107",
    ),
    "peixoto-weighted": (
        "Peixoto, 2018",
        "Peixoto TP (2018). Nonparametric weighted stochastic block models. Physical Review E 97, 012306.",
        "10.1103/PhysRevE.97.012306",
    ),
    "peixoto-nested": (
        "Peixoto, 2014",
        "Peixoto TP (2014). Hierarchical block structures and high-resolution model selection in large "
        "networks. Physical Review X 4, 011047.",
        "10.1103/PhysRevX.4.011047",
    ),
    "escola": (
        "Escola et al., 2011",
        "Escola S, Fontanini A, Katz D, Paninski L (2011). Hidden Markov models for the stimulus-response "
        "relationships of multistate neural systems. Neural Computation 23(5), 1071-1132.",
        "10.1162/NECO_a_00118",
    ),
    "ashwood": (
        "Ashwood et al., 2022",
        "Ashwood ZC, Roy NA, Stone IR, The International Brain Laboratory, Urai AE, Churchland AK, Pouget A, "
        "Pillow JW (2022). Mice alternate between discrete strategies during perceptual decision-making. "
        "Nature Neuroscience 25, 201-212.",
        "10.1038/s41593-021-01007-z",
    ),
    "pillow": (
        "Pillow et al., 2008",
        "Pillow JW, Shlens J, Paninski L, Sher A, Litke AM, Chichilnisky EJ, Simoncelli EP (2008). "
        "Spatio-temporal correlations and visual signalling in a complete neuronal population. Nature 454, "
        "995-999.",
        "10.1038/nature07140",
    ),
    "mackay": (
        "MacKay, 1992",
        "MacKay DJC (1992). Bayesian interpolation. Neural Computation 4(3), 415-447.",
        "10.1162/neco.1992.4.3.415",
    ),
    "dempster": (
        "Dempster et al., 1977",
        "Dempster AP, Laird NM, Rubin DB (1977). Maximum likelihood from incomplete data via the EM "
        "algorithm. "
        "Journal of the Royal Statistical Society B 39(1), 1-38.",
        "",
    ),
    "rabiner": (
        "Rabiner, 1989",
        "Rabiner LR (1989). A tutorial on hidden Markov models and selected applications in speech "
        "recognition. "
        "Proceedings of the IEEE 77(2), 257-286.",
        "10.1109/5.18626",
    ),
}
