"""Divider: what lets the pointer drag the divider of a wipe, for which viser has no event.

A grip lies over the canvas where the panel's hidden mark says that the divider is. Dragged, it types into the slider
right behind that mark, as a hand would; so the state has one way in.
"""

STYLE = """
#moegs-grip {
    position: fixed; z-index: 5; width: 28px; height: 28px; margin: -14px 0 0 -14px; border-radius: 50%;
    border: 2px solid #fff; background: #005896; color: #fff; opacity: 0.85; touch-action: none;
    font: bold 15px/24px sans-serif; text-align: center; user-select: none; box-shadow: 0 0 4px #000;
}
#moegs-grip:hover { opacity: 1 }
"""

SCRIPT = """
addEventListener("DOMContentLoaded", () => {
    const grip = Object.assign(document.createElement("div"), {
        id: "moegs-grip", textContent: "\\u2194", title: "Drag the divider",
    })
    let dragged = null
    const mark = () => document.querySelector("[data-moegs=divider]")
    const share = (at) => Math.min(Math.max(at, 0), 1)
    // The direction in which the divider goes, and how far it goes in all, as moegs/compare has them.
    const way = (it, box) => {
        const angle = Number(it.dataset.angle) * Math.PI / 180, x = Math.cos(angle), y = Math.sin(angle)
        return { x, y, length: box.width * Math.abs(x) + box.height * Math.abs(y) }
    }
    const place = () => {
        const it = mark(), box = document.querySelector("canvas[data-engine]")?.getBoundingClientRect()
        if (!it || !box) { grip.remove(); dragged = null; return }
        const { x, y, length } = way(it, box), far = ((dragged ?? Number(it.dataset.at)) - 0.5) * length
        grip.style.rotate = `${it.dataset.angle}deg`
        grip.style.cursor = Math.abs(x) < Math.abs(y) ? "ns-resize" : "ew-resize"
        grip.style.left = `${box.left + box.width * share(0.5 + far * x / box.width)}px`
        grip.style.top = `${box.top + box.height * share(0.5 + far * y / box.height)}px`
        if (!grip.isConnected) document.body.append(grip)
    }
    const type = (percent) => {  // React hears of a value only where its own setter is gone around
        const input = inputBehind("divider")
        if (!input || input.value === String(percent)) return
        Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(input, String(percent))
        input.dispatchEvent(new Event("input", { bubbles: true }))
    }
    grip.addEventListener("pointerdown", (event) => {
        grip.setPointerCapture(event.pointerId)
        dragged = Number(mark()?.dataset.at ?? 0.5)
        event.preventDefault()
    })
    grip.addEventListener("pointermove", (event) => {
        const it = mark(), box = document.querySelector("canvas[data-engine]")?.getBoundingClientRect()
        if (dragged === null || !it || !box) return
        const { x, y, length } = way(it, box)
        const right = event.clientX - box.left - box.width / 2, below = event.clientY - box.top - box.height / 2
        dragged = share(0.5 + (right * x + below * y) / length)
        place()
        type(Math.round(100 * dragged))
    })
    for (const end of ["pointerup", "pointercancel"]) grip.addEventListener(end, () => {
        dragged = null
        document.activeElement?.blur()  // keys are for the page again
    })
    setInterval(place, 150)
})
"""
