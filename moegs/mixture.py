"""Mixture: several experts and a router to one picture. The architecture on one page."""
