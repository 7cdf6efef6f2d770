"""What to cite: BibTeX entries, and which of them belong to which metric, network and tool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

__all__ = ["CITED_BY_BACKBONE", "CITED_BY_METRIC", "CITED_BY_PROTOCOL", "ENTRIES", "bibtex"]


def _paper(key: str, authors: str, title: str, where: str, year: int, eprint: str = "") -> str:
    """An entry; ``where`` is ``booktitle=…`` or ``journal=…``, empty for a preprint alone."""
    kind = "inproceedings" if where.startswith("booktitle") else "article" if where else "misc"
    fields = {"author": authors, "title": title}
    if where:
        name, _, value = where.partition("=")
        fields[name] = value
    fields["year"] = str(year)
    if eprint:
        fields |= {"eprint": eprint, "archivePrefix": "arXiv"}
    return _entry(kind, key, fields)


def _software(key: str, authors: str, title: str, url: str, year: int) -> str:
    return _entry(
        "misc",
        key,
        {"author": authors, "title": title, "year": str(year), "howpublished": f"\\url{{{url}}}"},
    )


def _entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    lines = [f"  {name} = {{{value}}}" for name, value in fields.items()]
    return f"@{kind}{{{key},\n" + ",\n".join(lines) + "\n}"


_NEURIPS = "booktitle=Advances in Neural Information Processing Systems"
_ICLR = "booktitle=International Conference on Learning Representations"
_ICML = "booktitle=International Conference on Machine Learning"
_CVPR = "booktitle=IEEE/CVF Conference on Computer Vision and Pattern Recognition"

ENTRIES: Mapping[str, str] = MappingProxyType(
    {
        "heusel2017gans": _paper(
            "heusel2017gans",
            "Heusel, Martin and Ramsauer, Hubert and Unterthiner, Thomas and Nessler, Bernhard "
            "and Hochreiter, Sepp",
            "{GANs} Trained by a Two Time-Scale Update Rule Converge to a Local {Nash} Equilibrium",
            _NEURIPS,
            2017,
            "1706.08500",
        ),
        "chong2020effectively": _paper(
            "chong2020effectively",
            "Chong, Min Jin and Forsyth, David",
            "Effectively Unbiased {FID} and {Inception Score} and Where to Find Them",
            _CVPR,
            2020,
            "1911.07023",
        ),
        "nash2021generating": _paper(
            "nash2021generating",
            "Nash, Charlie and Menick, Jacob and Dieleman, Sander and Battaglia, Peter W.",
            "Generating Images with Sparse Representations",
            _ICML,
            2021,
            "2103.03841",
        ),
        "stein2023exposing": _paper(
            "stein2023exposing",
            "Stein, George and Cresswell, Jesse C. and Hosseinzadeh, Rasa and Sui, Yi and Ross, "
            "Brendan Leigh and Villecroze, Valentin and Liu, Zhaoyan and Caterini, Anthony L. and "
            "Taylor, J. Eric T. and Loaiza-Ganem, Gabriel",
            "Exposing Flaws of Generative Model Evaluation Metrics and Their Unfair Treatment of "
            "Diffusion Models",
            _NEURIPS,
            2023,
            "2306.04675",
        ),
        "binkowski2018demystifying": _paper(
            "binkowski2018demystifying",
            "Bi{\\'n}kowski, Miko{\\l}aj and Sutherland, Danica J. and Arbel, Michael and Gretton, "
            "Arthur",
            "Demystifying {MMD} {GANs}",
            _ICLR,
            2018,
            "1801.01401",
        ),
        "jayasumana2024rethinking": _paper(
            "jayasumana2024rethinking",
            "Jayasumana, Sadeep and Ramalingam, Srikumar and Veit, Andreas and Glasner, Daniel and "
            "Chakrabarti, Ayan and Kumar, Sanjiv",
            "Rethinking {FID}: Towards a Better Evaluation Metric for Image Generation",
            _CVPR,
            2024,
            "2401.09603",
        ),
        "salimans2016improved": _paper(
            "salimans2016improved",
            "Salimans, Tim and Goodfellow, Ian and Zaremba, Wojciech and Cheung, Vicki and "
            "Radford, Alec and Chen, Xi",
            "Improved Techniques for Training {GANs}",
            _NEURIPS,
            2016,
            "1606.03498",
        ),
        "kynkaanniemi2019improved": _paper(
            "kynkaanniemi2019improved",
            'Kynk{\\"a}{\\"a}nniemi, Tuomas and Karras, Tero and Laine, Samuli and Lehtinen, '
            "Jaakko and Aila, Timo",
            "Improved Precision and Recall Metric for Assessing Generative Models",
            _NEURIPS,
            2019,
            "1904.06991",
        ),
        "naeem2020reliable": _paper(
            "naeem2020reliable",
            "Naeem, Muhammad Ferjad and Oh, Seong Joon and Uh, Youngjung and Choi, Yunjey and Yoo, "
            "Jaejun",
            "Reliable Fidelity and Diversity Metrics for Generative Models",
            _ICML,
            2020,
            "2002.09797",
        ),
        "han2023rarity": _paper(
            "han2023rarity",
            "Han, Jiyeon and Choi, Hwanil and Choi, Yunjey and Kim, Junho and Ha, Jung-Woo and "
            "Choi, Jaesik",
            "Rarity Score: A New Metric to Evaluate the Uncommonness of Synthesized Images",
            _ICLR,
            2023,
            "2206.08549",
        ),
        "alaa2022faithful": _paper(
            "alaa2022faithful",
            "Alaa, Ahmed M. and van Breugel, Boris and Saveliev, Evgeny S. and van der Schaar, "
            "Mihaela",
            "How Faithful is your Synthetic Data? {S}ample-level Metrics for Evaluating and "
            "Auditing Generative Models",
            _ICML,
            2022,
            "2102.08921",
        ),
        "meehan2020nonparametric": _paper(
            "meehan2020nonparametric",
            "Meehan, Casey and Chaudhuri, Kamalika and Dasgupta, Sanjoy",
            "A Non-Parametric Test to Detect Data-Copying in Generative Models",
            "booktitle=International Conference on Artificial Intelligence and Statistics",
            2020,
            "2004.05675",
        ),
        "bai2021training": _paper(
            "bai2021training",
            "Bai, Ching-Yuan and Lin, Hsuan-Tien and Raffel, Colin and Kan, Wendy Chih-wen",
            "On Training Sample Memorization: Lessons from Benchmarking Generative Modeling with "
            "a Large-scale Competition",
            "booktitle=ACM SIGKDD Conference on Knowledge Discovery and Data Mining",
            2021,
            "2106.03062",
        ),
        "jiralerspong2023feature": _paper(
            "jiralerspong2023feature",
            "Jiralerspong, Marco and Bose, Avishek Joey and Gemp, Ian and Qin, Chongli and "
            "Bachrach, Yoram and Gidel, Gauthier",
            "Feature Likelihood Divergence: Evaluating the Generalization of Generative Models "
            "Using Samples",
            _NEURIPS,
            2023,
            "2302.04440",
        ),
        "friedman2023vendi": _paper(
            "friedman2023vendi",
            "Friedman, Dan and Dieng, Adji Bousso",
            "The {Vendi} Score: A Diversity Evaluation Metric for Machine Learning",
            "journal=Transactions on Machine Learning Research",
            2023,
            "2210.02410",
        ),
        "szegedy2016rethinking": _paper(
            "szegedy2016rethinking",
            "Szegedy, Christian and Vanhoucke, Vincent and Ioffe, Sergey and Shlens, Jonathon and "
            "Wojna, Zbigniew",
            "Rethinking the {Inception} Architecture for Computer Vision",
            _CVPR,
            2016,
            "1512.00567",
        ),
        "he2016deep": _paper(
            "he2016deep",
            "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian",
            "Deep Residual Learning for Image Recognition",
            _CVPR,
            2016,
            "1512.03385",
        ),
        "tan2019efficientnet": _paper(
            "tan2019efficientnet",
            "Tan, Mingxing and Le, Quoc V.",
            "{EfficientNet}: Rethinking Model Scaling for Convolutional Neural Networks",
            _ICML,
            2019,
            "1905.11946",
        ),
        "dosovitskiy2021image": _paper(
            "dosovitskiy2021image",
            "Dosovitskiy, Alexey and Beyer, Lucas and Kolesnikov, Alexander and others",
            "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
            _ICLR,
            2021,
            "2010.11929",
        ),
        "liu2022convnet": _paper(
            "liu2022convnet",
            "Liu, Zhuang and Mao, Hanzi and Wu, Chao-Yuan and Feichtenhofer, Christoph and "
            "Darrell, Trevor and Xie, Saining",
            "A {ConvNet} for the 2020s",
            _CVPR,
            2022,
            "2201.03545",
        ),
        "simonyan2015very": _paper(
            "simonyan2015very",
            "Simonyan, Karen and Zisserman, Andrew",
            "Very Deep Convolutional Networks for Large-Scale Image Recognition",
            _ICLR,
            2015,
            "1409.1556",
        ),
        "oquab2024dinov2": _paper(
            "oquab2024dinov2",
            "Oquab, Maxime and Darcet, Timoth{\\'e}e and Moutakanni, Th{\\'e}o and others",
            "{DINOv2}: Learning Robust Visual Features without Supervision",
            "journal=Transactions on Machine Learning Research",
            2024,
            "2304.07193",
        ),
        "radford2021learning": _paper(
            "radford2021learning",
            "Radford, Alec and Kim, Jong Wook and Hallacy, Chris and others",
            "Learning Transferable Visual Models From Natural Language Supervision",
            _ICML,
            2021,
            "2103.00020",
        ),
        "parmar2022aliased": _paper(
            "parmar2022aliased",
            "Parmar, Gaurav and Zhang, Richard and Zhu, Jun-Yan",
            "On Aliased Resizing and Surprising Subtleties in {GAN} Evaluation",
            _CVPR,
            2022,
            "2104.11222",
        ),
        "karras2019style": _paper(
            "karras2019style",
            "Karras, Tero and Laine, Samuli and Aila, Timo",
            "A Style-Based Generator Architecture for Generative Adversarial Networks",
            _CVPR,
            2019,
            "1812.04948",
        ),
        "zhu2017toward": _paper(
            "zhu2017toward",
            "Zhu, Jun-Yan and Zhang, Richard and Pathak, Deepak and Darrell, Trevor and Efros, "
            "Alexei A. and Wang, Oliver and Shechtman, Eli",
            "Toward Multimodal Image-to-Image Translation",
            _NEURIPS,
            2017,
            "1711.11586",
        ),
        "zhang2018unreasonable": _paper(
            "zhang2018unreasonable",
            "Zhang, Richard and Isola, Phillip and Efros, Alexei A. and Shechtman, Eli and Wang, "
            "Oliver",
            "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
            _CVPR,
            2018,
            "1801.03924",
        ),
        "karras2021alias": _paper(
            "karras2021alias",
            'Karras, Tero and Aittala, Miika and Laine, Samuli and H{\\"a}rk{\\"o}nen, Erik and '
            "Hellsten, Janne and Lehtinen, Jaakko and Aila, Timo",
            "Alias-Free Generative Adversarial Networks",
            _NEURIPS,
            2021,
            "2106.12423",
        ),
        "karras2024analyzing": _paper(
            "karras2024analyzing",
            "Karras, Tero and Aittala, Miika and Lehtinen, Jaakko and Hellsten, Janne and Aila, "
            "Timo and Laine, Samuli",
            "Analyzing and Improving the Training Dynamics of Diffusion Models",
            _CVPR,
            2024,
            "2312.02696",
        ),
        "dhariwal2021diffusion": _paper(
            "dhariwal2021diffusion",
            "Dhariwal, Prafulla and Nichol, Alexander",
            "Diffusion Models Beat {GANs} on Image Synthesis",
            _NEURIPS,
            2021,
            "2105.05233",
        ),
        "seitzer2020pytorchfid": _software(
            "seitzer2020pytorchfid",
            "Seitzer, Maximilian",
            "{pytorch-fid}: {FID} Score for {PyTorch}",
            "https://github.com/mseitzer/pytorch-fid",
            2020,
        ),
        "obukhov2020torchfidelity": _software(
            "obukhov2020torchfidelity",
            "Obukhov, Anton and Seitzer, Maximilian and Wu, Po-Wei and Zhydenko, Semen and Kyl, "
            "Jonathan and Lin, Elvis Yu-Jing",
            "High-Fidelity Performance Metrics for Generative Models in {PyTorch}",
            "https://github.com/toshas/torch-fidelity",
            2020,
        ),
        "detlefsen2022torchmetrics": _paper(
            "detlefsen2022torchmetrics",
            "Detlefsen, Nicki Skafte and Borovec, Jiri and Schock, Justus and others",
            "{TorchMetrics}: Measuring Reproducibility in {PyTorch}",
            "journal=Journal of Open Source Software",
            2022,
        ),
        "kastryulin2022piq": _paper(
            "kastryulin2022piq",
            "Kastryulin, Sergey and Zakirov, Jamil and Prokopenko, Denis and Dylov, Dmitry V.",
            "{PyTorch} Image Quality: Metrics for Image Quality Assessment",
            "",
            2022,
            "2208.14818",
        ),
        "rabin2011wasserstein": _paper(
            "rabin2011wasserstein",
            "Rabin, Julien and Peyr{\\'e}, Gabriel and Delon, Julie and Bernot, Marc",
            "{Wasserstein} Barycenter and Its Application to Texture Mixing",
            "booktitle=Scale Space and Variational Methods in Computer Vision",
            2011,
        ),
        "salvy2025enhanced": _paper(
            "salvy2025enhanced",
            "Salvy, Nicolas and Talbot, Hugues and Thirion, Bertrand",
            "Enhanced Generative Model Evaluation with Clipped Density and Coverage",
            "",
            2025,
            "2507.01761",
        ),
        "park2023probabilistic": _paper(
            "park2023probabilistic",
            "Park, Dogyun and Kim, Suhyun",
            "Probabilistic Precision and Recall Towards Reliable Evaluation of Generative Models",
            "booktitle=IEEE/CVF International Conference on Computer Vision",
            2023,
            "2309.01590",
        ),
        "arxiv2605.06797": _paper(
            "arxiv2605.06797", "Berthet and others", "arXiv 2605.06797", "", 2026, "2605.06797"
        ),
        "jalali2023information": _paper(
            "jalali2023information",
            "Jalali, Mohammad and Li, Cheuk Ting and Farnia, Farzan",
            "An Information-Theoretic Evaluation of Generative Models in Learning Multi-modal "
            "Distributions",
            _NEURIPS,
            2023,
        ),
        "ospanov2024towards": _paper(
            "ospanov2024towards",
            "Ospanov, Azim and Zhang, Jingwei and Jalali, Mohammad and Cao, Xuenan and Bogdanov, "
            "Andrej and Farnia, Farzan",
            "Towards a Scalable Reference-Free Evaluation of Generative Models",
            _NEURIPS,
            2024,
            "2407.02961",
        ),
    }
)
"""Key to BibTeX entry."""

CITED_BY_METRIC: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fid": ("heusel2017gans",),
        "fd": ("heusel2017gans",),
        "fd_infinity": ("chong2020effectively",),
        "sfid": ("nash2021generating",),
        "fd_dinov2": ("stein2023exposing",),
        "kid": ("binkowski2018demystifying",),
        "kd": ("binkowski2018demystifying",),
        "cmmd": ("jayasumana2024rethinking",),
        "is": ("salimans2016improved",),
        "precision": ("kynkaanniemi2019improved",),
        "recall": ("kynkaanniemi2019improved",),
        "density": ("naeem2020reliable",),
        "coverage": ("naeem2020reliable",),
        "clipped_density": ("salvy2025enhanced",),
        "clipped_coverage": ("salvy2025enhanced",),
        "p_precision": ("park2023probabilistic",),
        "p_recall": ("park2023probabilistic",),
        "swd": ("rabin2011wasserstein",),
        "vendi": ("friedman2023vendi",),
        "rke": ("jalali2023information",),
        "fkea": ("ospanov2024towards",),
        "mind": ("arxiv2605.06797",),
        "realism": ("kynkaanniemi2019improved",),
        "rarity": ("han2023rarity",),
        "authpct": ("alaa2022faithful",),
        "ct": ("meehan2020nonparametric",),
        "mifid": ("bai2021training",),
        "fld": ("jiralerspong2023feature",),
        "lpips_diversity": ("zhu2017toward",),
        "ppl": ("karras2019style",),
    }
)
"""Metric to the entries of its papers."""

CITED_BY_BACKBONE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "inception": ("szegedy2016rethinking",),
        "vgg": ("simonyan2015very",),
        "resnet": ("he2016deep",),
        "efficientnet": ("tan2019efficientnet",),
        "vit": ("dosovitskiy2021image",),
        "convnext": ("liu2022convnet",),
        "dinov2": ("oquab2024dinov2",),
        "clip": ("radford2021learning",),
        "lpips": ("zhang2018unreasonable",),
    }
)
"""What a backbone's name begins with to the entries of its paper."""

CITED_BY_PROTOCOL: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "pytorch-fid": ("seitzer2020pytorchfid",),
        "tf1": ("obukhov2020torchfidelity",),
        "stylegan3": ("karras2021alias",),
        "edm2": ("karras2024analyzing",),
        "adm": ("dhariwal2021diffusion",),
        "clean-fid": ("parmar2022aliased",),
        "clean-fid-legacy-tensorflow": ("parmar2022aliased",),
        "clean-fid-legacy-pytorch": ("parmar2022aliased",),
        "torchmetrics": ("detlefsen2022torchmetrics",),
        "piq": ("kastryulin2022piq",),
        "dgm-eval": ("stein2023exposing",),
        "cmmd": ("jayasumana2024rethinking",),
    }
)
"""Protocol to the entries of the tool's paper."""


def bibtex(keys: Iterable[str]) -> str:
    """The entries of some keys, each once, in order."""
    return "\n\n".join(ENTRIES[key] for key in dict.fromkeys(keys))
