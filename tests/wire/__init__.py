"""Tests of the codec: units, and agreement with pamqp on whatever hypothesis makes up."""
