"""The paper's evidence as experiments, figures and verdicts: Zhang, Xiong, Bradbury and Socher (2017)."""
