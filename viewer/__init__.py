"""The browser application: it chooses what to show; the core draws it.

Everything stands on viser. nerfview is left out: its render loop ends the process on any exception and shares one state
and one lock between all tabs; its camera state knows a field of view but no principal point, so that a data set's
camera cannot be met; its colour maps are Matplotlib's, which `moegs.legends` reads directly; and its camera-path panel
records through the browser tab, frame by frame, where the core renders videos on the server.
"""
