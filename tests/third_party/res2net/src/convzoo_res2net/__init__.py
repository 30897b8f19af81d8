"""The convolution and the networks of Res2Net for convzoo."""
