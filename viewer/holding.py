"""Holding: what lets a key show the other side of a comparison while it is held: viser tells only when it goes down.

It clicks the check box right behind the panel's hidden mark, when the key goes down and when it comes up.
"""

SCRIPT = """
addEventListener("DOMContentLoaded", () => {
    let held = false
    const flip = () => { inputBehind("turned")?.click(); held = !held }
    const types = (target) => target.matches?.("textarea, [contenteditable], input:not([type=checkbox])")
    addEventListener("keydown", (event) => {
        const plain = !(event.ctrlKey || event.metaKey || event.altKey)
        if (event.code === "KeyB" && plain && !held && !types(event.target) && inputBehind("turned")) flip()
    })
    addEventListener("keyup", (event) => { if (event.code === "KeyB" && held) flip() })
    addEventListener("blur", () => { if (held) flip() })  // the key comes up elsewhere
})
"""
