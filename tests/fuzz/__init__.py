"""Tests of the fuzzer: that it repeats itself, goes deep, and sees what is wrong."""
